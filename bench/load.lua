-- What wrk sends, and one line of JSON about how it went.
-- Arguments: method, bearer token or "", JSON body or "", prefix of an Idempotency-Key of its own for each request or "".

local key_prefix = ""
local sent = 0

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
  if key_prefix ~= "" then
    request = function()
      sent = sent + 1
      wrk.headers["Idempotency-Key"] = key_prefix .. "-" .. sent
      return wrk.format()
    end
  end
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
