// Draws a dashboard with Grafana's own components, from a Prometheus; Grafana itself isn't here.
// The page sets `window.scene`; `document.title` becomes "drawn" when everything is there.

import { useLayoutEffect } from 'react';
import { createRoot } from 'react-dom/client';
import {
  createDataFrame,
  createTheme,
  dateTime,
  type DataFrame,
  type Field,
  FieldColorModeId,
  FieldType,
  getDisplayProcessor,
  type GrafanaTheme2,
  ThemeContext,
  type TimeRange,
  VizOrientation,
} from '@grafana/data';
import { BarGaugeDisplayMode, LegendDisplayMode } from '@grafana/schema';
import {
  BarGauge,
  BigValue,
  BigValueColorMode,
  BigValueGraphMode,
  BigValueTextMode,
  PanelChrome,
  TimeSeries,
  type UPlotConfigBuilder,
} from '@grafana/ui';

interface Scene {
  dashboard: any;
  prometheus: string;
  /** Seconds since the epoch. */
  from: number;
  to: number;
  step: number;
  variables: Record<string, string>;
  /** Panels below this row of the grid are left out. */
  until: number;
  width: number;
}
interface Mark {
  color: string;
  from: number;
  to: number;
}
type Series = { metric: Record<string, string>; values?: Array<[number, string]>; value?: [number, string] };

declare global {
  interface Window {
    scene: Scene;
  }
}

const { scene } = window;
const theme: GrafanaTheme2 = createTheme({ colors: { mode: 'dark' } });
const range: TimeRange = {
  from: dateTime(scene.from * 1000),
  to: dateTime(scene.to * 1000),
  raw: { from: dateTime(scene.from * 1000), to: dateTime(scene.to * 1000) },
};
const UNIT = 34;
const GAP = 6;

const filled = (text: string) =>
  text.replace(/\$(\w+)/g, (whole, name: string) => scene.variables[name] ?? whole);

async function ask(path: string, parameters: Record<string, string | number>): Promise<any> {
  const query = new URLSearchParams(Object.entries(parameters).map(([key, value]) => [key, String(value)]));
  const reply = await (await fetch(`${scene.prometheus}/api/v1/${path}?${query}`)).json();
  if (reply.status !== 'success') {
    throw new Error(`${parameters.query}: ${reply.error}`);
  }
  return reply.data.result ?? reply.data;
}

const over = (query: string, step = scene.step): Promise<Series[]> =>
  ask('query_range', { query: filled(query), start: scene.from, end: scene.to, step });
const now = (query: string): Promise<Series[]> => ask('query', { query: filled(query), time: scene.to });

const named = (legend: string, metric: Record<string, string>) =>
  legend.replace(/\{\{(\w+)\}\}/g, (_, label: string) => metric[label] ?? '').trim();

/** What an override by the series' name says of its colour. */
function colorOf(panel: any, name: string): string | undefined {
  for (const each of panel.fieldConfig.overrides ?? []) {
    const [, pattern] = /^\/(.*)\/$/.exec(each.matcher.options) ?? [];
    if (pattern && new RegExp(pattern).test(name)) {
      return each.properties[0].value.fixedColor;
    }
  }
  return undefined;
}

/** A field as the panel configures it, numbered for the palette. */
function field(panel: any, name: string, values: Array<number | null>, index: number, custom: object = {}): Field {
  const { defaults } = panel.fieldConfig;
  const fixed = colorOf(panel, name);
  const { palette } = theme.visualization;
  const color = { mode: FieldColorModeId.Fixed, fixedColor: fixed ?? palette[index % palette.length] };
  const limits = defaults.thresholds && panel.type !== 'timeseries' ? { mode: FieldColorModeId.Thresholds } : color;
  const made: Field = {
    name,
    type: FieldType.number,
    values,
    config: { ...defaults, displayName: name, color: limits, custom: { ...defaults.custom, ...custom } },
    state: { seriesIndex: index },
  };
  made.display = getDisplayProcessor({ field: made, theme });
  return made;
}

const number = (text: string) => (Number.isFinite(Number(text)) ? Number(text) : null);

/** One frame a series: uPlot joins them. A line has a gap where Prometheus has none of it. */
async function frames(panel: any): Promise<DataFrame[]> {
  const found: DataFrame[] = [];
  const stamps: number[] = [];
  for (let at = scene.from; at <= scene.to; at += scene.step) {
    stamps.push(at);
  }
  for (const target of panel.targets) {
    for (const { metric, values } of await over(target.expr)) {
      const by = new Map((values ?? []).map(([at, value]) => [Math.round(at / scene.step), number(value)]));
      const line = stamps.map((at) => by.get(Math.round(at / scene.step)) ?? null);
      const time: Field = { name: 'Time', type: FieldType.time, values: stamps.map((at) => at * 1000), config: {} };
      const name = named(target.legendFormat, metric);
      found.push(createDataFrame({ fields: [time, field(panel, name, line, found.length, { spanNulls: false })] }));
    }
    if (target.exemplar) {
      found.push(...(await exemplars(panel, target.expr)));
    }
  }
  return found;
}

async function exemplars(panel: any, expr: string): Promise<DataFrame[]> {
  const series = await ask('query_exemplars', { query: filled(expr), start: scene.from, end: scene.to });
  const dots = new Map<number, number>();
  for (const each of series.flatMap((one: any) => one.exemplars)) {
    const at = scene.from + Math.round((each.timestamp - scene.from) / scene.step) * scene.step;
    dots.set(at, Math.max(dots.get(at) ?? 0, Number(each.value)));
  }
  const sorted = [...dots.keys()].sort((one, other) => one - other);
  const custom = { drawStyle: 'points', showPoints: 'always', pointSize: 4, spanNulls: true };
  const shown = field(panel, 'exemplars (traces)', sorted.map((at) => dots.get(at) ?? null), 7, custom);
  const time: Field = { name: 'Time', type: FieldType.time, values: sorted.map((at) => at * 1000), config: {} };
  return sorted.length ? [createDataFrame({ fields: [time, shown] })] : [];
}

async function marks(): Promise<Mark[]> {
  const found: Mark[] = [];
  for (const mark of scene.dashboard.annotations.list) {
    for (const { values } of await over(mark.expr)) {
      let last = -Infinity;
      for (const [at] of values ?? []) {
        if (at - last > scene.step * 1.5) {
          found.push({ color: theme.visualization.getColorByName(mark.iconColor), from: at, to: at });
        }
        found[found.length - 1].to = at;
        last = at;
      }
    }
  }
  return found;
}

/** As Grafana marks annotations: a dashed line where each begins, and a faint band while it lasts. */
function Marks({ config, all }: { config: UPlotConfigBuilder; all: Mark[] }) {
  useLayoutEffect(() => {
    config.addHook('draw', (plot) => {
      const { ctx, bbox } = plot;
      ctx.save();
      for (const { color, from, to } of all) {
        const [left, right] = [from, to].map((at) => plot.valToPos(at * 1000, 'x', true));
        ctx.fillStyle = `${color}12`;
        ctx.fillRect(left, bbox.top, Math.max(right - left, 1), bbox.height);
        ctx.strokeStyle = color;
        ctx.setLineDash([4, 4]);
        ctx.beginPath();
        ctx.moveTo(left, bbox.top);
        ctx.lineTo(left, bbox.top + bbox.height);
        ctx.stroke();
      }
      ctx.restore();
    });
  }, [config, all]);
  return <></>;
}

const Nothing = ({ text }: { text: string }) => (
  <div style={{ display: 'grid', placeItems: 'center', height: '100%', color: theme.colors.text.secondary }}>{text}</div>
);

async function lines(panel: any, all: Mark[]) {
  const shown = await frames(panel);
  return (width: number, height: number) =>
    shown.length === 0 ? (
      <Nothing text="No data" />
    ) : (
      <TimeSeries
        frames={shown}
        structureRev={1}
        width={width}
        height={height}
        timeRange={range}
        timeZone="utc"
        legend={{ ...panel.options.legend, displayMode: LegendDisplayMode.List, calcs: [] }}
        options={panel.options}
      >
        {(config: UPlotConfigBuilder) => <Marks config={config} all={all} />}
      </TimeSeries>
    );
}

async function numbers(panel: any) {
  const [target] = panel.targets;
  const [series] = await over(target.expr);
  const values = (series?.values ?? []).map(([, value]) => number(value)).filter((value) => value !== null);
  const shown = field(panel, target.legendFormat, values, 0);
  const value = values.length ? shown.display!(values[values.length - 1]) : { text: panel.fieldConfig.defaults.noValue, numeric: NaN };
  return (width: number, height: number) => (
    <BigValue
      value={{ ...value, title: undefined }}
      colorMode={BigValueColorMode.Background}
      graphMode={BigValueGraphMode.None}
      textMode={BigValueTextMode.Value}
      width={width}
      height={height}
      theme={theme}
    />
  );
}

async function bars(panel: any) {
  const [target] = panel.targets;
  const shown = (await over(target.expr)).map(({ metric, values }) => {
    const last = number(values![values!.length - 1][1]);
    const made = field(panel, named(target.legendFormat, metric), [last], 0);
    return { made, value: { ...made.display!(last), title: made.name } };
  });
  return (width: number, height: number) => (
    <div style={{ display: 'grid', gap: 4 }}>
      {shown.map(({ made, value }) => (
        <BarGauge
          key={made.name}
          field={made.config}
          display={made.display}
          value={value}
          orientation={VizOrientation.Horizontal}
          displayMode={BarGaugeDisplayMode.Basic}
          alignmentFactors={{ title: 'availability sign_in', text: '-100.0%' }}
          width={width}
          height={Math.floor(height / shown.length) - 4}
          showUnfilled
          theme={theme}
        />
      ))}
    </div>
  );
}

async function table(panel: any) {
  const [target] = panel.targets;
  const [, organize] = panel.transformations;
  const columns: Array<[string, string]> = Object.entries(organize.options.renameByName as Record<string, string>).sort(
    ([one], [other]) => organize.options.indexByName[one] - organize.options.indexByName[other]
  );
  const series = await now(target.expr);
  const value = field(panel, 'Value', [], 0);
  const cell = ({ metric, value: sample }: Series, label: string) => {
    const said = label === 'Value' ? value.display!(Number(sample![1])) : undefined;
    return said ? `${said.text}${said.suffix ?? ''}` : metric[label] ?? '';
  };
  const color = (text: string) => (text === 'page' ? 'red' : text === 'ticket' ? 'orange' : undefined);
  const style = { padding: '2px 10px', textAlign: 'left' as const, borderBottom: `1px solid ${theme.colors.border.weak}` };
  return () =>
    series.length === 0 ? (
      <Nothing text={panel.fieldConfig.defaults.noValue ?? 'No data'} />
    ) : (
      <table style={{ width: '100%', borderCollapse: 'collapse', fontSize: 12 }}>
        <thead>
          <tr>{columns.map(([label, title]) => <th key={label} style={{ ...style, color: theme.colors.primary.text }}>{title}</th>)}</tr>
        </thead>
        <tbody>
          {series.map((one, at) => (
            <tr key={at}>{columns.map(([label]) => <td key={label} style={{ ...style, color: color(cell(one, label)) }}>{cell(one, label)}</td>)}</tr>
          ))}
        </tbody>
      </table>
    );
}

const KINDS: Record<string, (panel: any, all: Mark[]) => Promise<(width: number, height: number) => React.ReactNode>> = {
  timeseries: lines,
  stat: numbers,
  bargauge: bars,
  table,
};

async function main() {
  const all = await marks();
  const column = scene.width / 24;
  const shown = scene.dashboard.panels.filter((panel: any) => panel.gridPos.y + panel.gridPos.h <= scene.until);
  const made = await Promise.all(
    shown.map(async (panel: any) => ({ panel, draw: panel.type === 'row' ? undefined : await KINDS[panel.type](panel, all) }))
  );
  const bottom = Math.max(...shown.map(({ gridPos }: any) => gridPos.y + gridPos.h));
  const root = createRoot(document.getElementById('dashboard')!);
  root.render(
    <ThemeContext.Provider value={theme}>
      <div style={{ position: 'relative', width: scene.width, height: bottom * UNIT, background: theme.colors.background.canvas, color: theme.colors.text.primary }}>
        {made.map(({ panel, draw }) => {
          const { x, y, w, h } = panel.gridPos;
          const [width, height] = [w * column - GAP, h * UNIT - GAP];
          return (
            <div key={panel.id} style={{ position: 'absolute', left: x * column + GAP / 2, top: y * UNIT + GAP / 2, width, height }}>
              {draw ? (
                <PanelChrome title={panel.title} width={width} height={height} padding="sm">
                  {(inner, deep) => draw(inner, deep)}
                </PanelChrome>
              ) : (
                <div style={{ ...theme.typography.h5, color: theme.colors.text.primary, padding: '6px 4px' }}>⌄ {panel.title}</div>
              )}
            </div>
          );
        })}
      </div>
    </ThemeContext.Provider>
  );
  await document.fonts.ready;
  setTimeout(() => (document.title = 'drawn'), 1500);
}

main().catch((error) => {
  document.title = `failed: ${error.message}`;
});
