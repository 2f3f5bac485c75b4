-- What wrk sends, and one line of JSON about how it went.
-- Arguments, "" for none: method; bearer token; body; what an Idempotency-Key of its own for each request begins with;
-- paths to ask in turns instead of the address's; refresh tokens, more than connections (lists with spaces between).

local key_prefix = ""
local paths = {}
local refresh_tokens = {}
local sent = 0

local function words_of(text)
  local words = {}
  for word in text:gmatch("%S+") do
    words[#words + 1] = word
  end
  return words
end

function init(args)
  wrk.method = args[1]
  if args[2] ~= "" then
    wrk.headers["Authorization"] = "Bearer " .. args[2]
  end
  if args[3] ~= "" then
    wrk.headers["Content-Type"] = "application/json"
    wrk.body = args[3]
  end
  key_prefix = args[4]
  paths = words_of(args[5])
  refresh_tokens = words_of(args[6])
  if #refresh_tokens > 0 then
    wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
    request = refresh
    response = remember
  elseif key_prefix ~= "" or #paths > 0 then
    request = another
  end
end

function another()
  sent = sent + 1
  if key_prefix ~= "" then
    wrk.headers["Idempotency-Key"] = key_prefix .. "-" .. sent
  end
  return wrk.format(nil, paths[sent % math.max(#paths, 1) + 1])
end

function refresh()
  return wrk.format(nil, nil, nil, "grant_type=refresh_token&refresh_token=" .. table.remove(refresh_tokens, 1))
end

-- The next token of a session that was refreshed.
function remember(status, headers, body)
  refresh_tokens[#refresh_tokens + 1] = body:match('"refresh_token": ?"([^"]+)"')
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "microseconds": %d, "refused": %d, "broken": %d, "p50": %d, "p99": %d}\n',
    summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)
  ))
end
