"use strict";
// One function per picture: it takes the data of a market, the shown step and the colours, and
// returns traces and a layout for Plotly. Nothing here touches the page.

const ms = seconds => seconds * 1000;
const rows = n => Array.from({ length: n }, (_, i) => i);
const known = v => v !== null && v !== undefined;
const share = v => `${Math.round(100 * v)} %`;

/** Draw a band as closed outlines, one per run without a hole: holes are never bridged. */
function band(t, low, high, step, colour, name) {
  const x = [], y = [];
  let run = [];
  const close = () => {
    if (run.length > 1) {
      for (const i of run) { x.push(ms(t[i])); y.push(high[i]); }
      for (const i of run.slice().reverse()) { x.push(ms(t[i])); y.push(low[i]); }
      x.push(null); y.push(null);
    }
    run = [];
  };
  rows(t.length).forEach(i => {
    const hole = run.length && t[i] - t[run[run.length - 1]] > step;
    if (hole || !known(low[i]) || !known(high[i])) close();
    if (known(low[i]) && known(high[i])) run.push(i);
  });
  close();
  return { x, y, type: "scatter", mode: "lines", fill: "toself", fillcolor: colour, name,
    line: { width: 0, color: colour }, hoverinfo: "skip" };
}

/** Return the widest spacing that is not a hole: thinned columns are sparser in their older part. */
function spacing(t, interval) {
  if (t.length < 3) return interval * 1.5;
  const gaps = rows(t.length - 1).map(i => t[i + 1] - t[i]).sort((a, b) => a - b);
  return Math.max(gaps[Math.floor(0.98 * gaps.length)], interval) * 1.5;
}

/** Merge candles so that about `most` of them fill the view. */
function merged(c, from, to, interval, most) {
  const inside = rows(c.t.length).filter(i => c.t[i] >= from - interval && c.t[i] <= to);
  const sizes = [1, 3, 6, 12, 24, 48, 72, 144, 288, 2016].map(n => n * interval);
  const width = sizes.find(s => (to - from) / s <= most) || sizes[sizes.length - 1];
  const out = { t: [], o: [], h: [], l: [], c: [], width };
  let group = null;
  for (const i of inside) {
    const g = Math.floor(c.t[i] / width), k = out.t.length - 1;
    if (g !== group) {
      group = g;
      out.t.push(g * width + width / 2);
      for (const key of ["o", "h", "l", "c"]) out[key].push(c[key][i]);
    } else {
      out.h[k] = Math.max(out.h[k], c.h[i]);
      out.l[k] = Math.min(out.l[k], c.l[i]);
      out.c[k] = c.c[i];
    }
  }
  return out;
}

function priceOf(last, bp) {
  return last.map((p, i) => (known(p) && known(bp[i]) ? p * Math.exp(bp[i] / 1e4) : null));
}

const PICTURES = {};

PICTURES.price = (d, k, see, view) => {
  const [from, to] = view;
  const c = merged(d.candles, from, to, d.interval, 320);
  const traces = [];
  const extent = [...c.h, ...c.l];
  if (d.served) {
    const s = d.served, step = s.steps[k];
    const end = Math.min(to, d.fan ? d.fan.origin : to); // after it, the newest forecast is valid
    const near = rows(s.origin.length)
      .filter(i => s.origin[i] + step.ahead >= from && s.origin[i] + step.ahead <= end);
    const every = Math.ceil(near.length / 1500);
    const at = near.filter((_, i) => i % every === 0);
    const pick = column => at.map(i => column[i]);
    const t = at.map(i => s.origin[i] + step.ahead), last = pick(s.last);
    const hole = spacing(t, d.interval);
    const ends = step.pairs.map(p => [priceOf(last, pick(p.low)), priceOf(last, pick(p.high))]);
    step.pairs.forEach((p, j) => traces.push(
      band(t, ends[j][0], ends[j][1], hole, j ? see.band80 : see.band90, `${share(p.share)}, ${step.label} before`)));
    extent.push(...ends[0][0], ...ends[0][1]);
    traces.push({ x: t.map(ms), y: priceOf(last, pick(step.median)), type: "scatter", mode: "lines",
      line: { width: 1, color: see.line, dash: "dot" }, name: `forecast ${step.label} before`,
      customdata: t.map((_, i) => ends[0].map(e => e[i])), showlegend: false,
      hovertemplate: `forecast ${step.label} before: ${share(step.pairs[0].share)} from %{customdata[0]:,.7~g} to %{customdata[1]:,.7~g}<extra></extra>` });
  }
  traces.push({ x: c.t.map(ms), open: c.o, high: c.h, low: c.l, close: c.c, type: "candlestick",
    name: "candles", customdata: c.t.map(t => new Date(ms(t - c.width / 2)).toISOString().slice(11, 16)),
    hovertemplate: "candle from %{customdata}: open %{open:,.7~g}, high %{high:,.7~g}, low %{low:,.7~g}, close %{close:,.7~g}<extra></extra>", increasing: { line: { color: see.up, width: 1 }, fillcolor: see.up },
    decreasing: { line: { color: see.down, width: 1 }, fillcolor: see.down } });
  const layout = { xaxis: { type: "date", range: view.map(ms), rangeslider: { visible: false } },
    yaxis: { title: { text: plain(d.quote) }, tickformat: ",.7~g" }, shapes: [], hovermode: "x unified", dragmode: "zoom" };
  if (d.fan && d.fan.t[d.fan.t.length - 1] >= from && d.fan.origin <= to) {
    const f = d.fan, t = [f.origin, ...f.t];
    f.pairs.forEach((p, j) => {
      const low = [f.last, ...p.low], high = [f.last, ...p.high];
      traces.push(band(t, low, high, Infinity, j ? see.band80 : see.band90, `${share(p.share)} ahead`));
      traces[traces.length - 1].showlegend = false;
      extent.push(...low, ...high);
    });
    traces.push({ x: f.t.map(ms), y: f.median, type: "scatter", mode: "lines+markers", name: "newest forecast",
      marker: { size: 3, color: see.line }, line: { width: 1, color: see.line, dash: "dash" },
      customdata: f.t.map((_, i) => [f.pairs[0].low[i], f.pairs[0].high[i]]),
      hovertemplate: `forecast: ${share(f.pairs[0].share)} from %{customdata[0]:,.7~g} to %{customdata[1]:,.7~g}<extra></extra>` });
    layout.shapes.push({ type: "line", x0: ms(f.origin), x1: ms(f.origin), yref: "paper", y0: 0, y1: 1,
      line: { color: see.soft, width: 1, dash: "dot" } });
  }
  const seen = extent.filter(known);
  if (seen.length) {
    const low = seen.reduce((a, b) => Math.min(a, b)), high = seen.reduce((a, b) => Math.max(a, b));
    const room = (high - low) * 0.04 || high * 0.001;
    layout.yaxis.range = [low - room, high + room];
  }
  return { traces, layout };
};

PICTURES.cone = (d, k, see) => {
  const f = d.cone, t = [f.origin, ...f.t], colours = [see.band90, see.band80, see.band80];
  const traces = f.pairs.map((p, j) => band(t, [f.last, ...p.low], [f.last, ...p.high], Infinity, colours[j % 3], share(p.share)));
  traces.push({ x: f.t.map(ms), y: f.median, type: "scatter", mode: "lines", name: "median", line: { width: 1, color: see.line, dash: "dash" },
    customdata: f.t.map((_, i) => [f.pairs[0].low[i], f.pairs[0].high[i]]),
    hovertemplate: `%{x|%d %b %H:%M}: ${share(f.pairs[0].share)} from %{customdata[0]:,.7~g} to %{customdata[1]:,.7~g}<extra></extra>` });
  return { traces, layout: { xaxis: { type: "date" }, yaxis: { title: { text: plain(d.quote) }, tickformat: ",.7~g" }, hovermode: "x" }, legend: true };
};

PICTURES.actual = (d, k, see) => {
  const s = d.served, step = s.steps[k], outer = step.pairs[0];
  const t = s.origin.map(o => o + step.ahead), hole = spacing(t, d.interval);
  const out = rows(t.length).filter(i => known(step.actual[i]) &&
    (step.actual[i] < outer.low[i] || step.actual[i] > outer.high[i]));
  const missed = new Set(out);
  const inside = rows(t.length).filter(i => known(step.actual[i]) && !missed.has(i));
  // A few wild moves would flatten the rest: those beyond the edge become triangles on it.
  const sizes = step.actual.filter(known).map(Math.abs).sort((a, b) => a - b);
  const size = sizes.length > 2000 ? 2.5 : 4;
  const edge = 1.6 * (sizes[Math.floor(0.995 * sizes.length)] || 1);
  const dots = (at, name, colour, size) => ({ x: at.map(i => ms(t[i])),
    y: at.map(i => Math.max(-edge, Math.min(edge, step.actual[i]))), type: "scatter", mode: "markers", name,
    marker: { color: colour, opacity: 1, line: { width: 0 }, size: at.map(i => (Math.abs(step.actual[i]) > edge ? 9 : size)),
      symbol: at.map(i => (step.actual[i] > edge ? "triangle-up" : step.actual[i] < -edge ? "triangle-down" : "circle")) },
    customdata: at.map(i => [outer.low[i], outer.high[i], step.actual[i]]),
    hovertemplate: `%{x|%d %b %H:%M} moved %{customdata[2]:.1f} bp; ${share(outer.share)} range %{customdata[0]:.1f} to %{customdata[1]:.1f}<extra></extra>` });
  return {
    traces: [
      ...step.pairs.map((p, j) => band(t, p.low, p.high, hole, j ? see.band80 : see.band90, `${share(p.share)} range`)),
      dots(inside, "moved", see.soft, size), dots(out, `outside the ${share(outer.share)} range`, see.miss, size + 1),
    ],
    layout: { xaxis: { type: "date", range: [ms(t[0]), ms(t[t.length - 1])] },
      yaxis: { title: { text: `move in ${step.label}, bp` }, range: [-1.08 * edge, 1.08 * edge] } },
  };
};

const zero = see => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: 0, y1: 0, line: { color: see.soft, width: 1 } });
const percentAxis = (text, more) => ({ title: { text }, tickformat: "+.1%", ...more });

PICTURES.skill = (d, k, see) => {
  const r = d.skill.rolling, layout = { xaxis: { type: "date" }, shapes: [zero(see)], annotations: [],
    yaxis: percentAxis("skill"), hovermode: "x unified" };
  if (!r) return { traces: [], layout, nothing: "Too few outcomes for a window yet" };
  const first = r.t[0], last = r.t[r.t.length - 1];
  for (const p of d.deployments) {
    if (p.t > first && p.t < last) {
      layout.shapes.push({ type: "line", x0: ms(p.t), x1: ms(p.t), yref: "paper", y0: 0, y1: 1,
        line: { color: see.second, width: 1, dash: "dash" } });
      layout.annotations.push({ x: ms(p.t), yref: "paper", y: 1, text: `version ${plain(p.version)}`, showarrow: false,
        xanchor: "left", yanchor: "bottom", font: { color: see.second, size: 11 } });
    }
    if (known(p.promise) && p.end > first) {
      layout.shapes.push({ type: "line", x0: ms(Math.max(p.t, first)), x1: ms(Math.min(p.end, last)),
        y0: p.promise, y1: p.promise, line: { color: see.second, width: 1.5, dash: "dot" } });
    }
  }
  const hole = spacing(r.t, d.interval) * 4;
  return { traces: [
    band(r.t, r.low, r.high, hole, see.band80, "90 % interval"),
    { x: r.t.map(ms), y: r.skill, type: "scatter", mode: "lines", name: "skill", line: { color: see.line, width: 2 },
      customdata: r.t.map((_, i) => [r.low[i], r.high[i]]),
      hovertemplate: "skill %{y:+.2%} (%{customdata[0]:+.2%} to %{customdata[1]:+.2%})<extra></extra>" },
  ], layout };
};

PICTURES.steps = (d, k, see) => {
  const s = d.skill.steps, x = rows(s.skill.length).map(i => i + 1);
  const bars = s.skill.map((v, i) => (known(v) && known(s.high[i]) ? s.high[i] - v : 0));
  const below = s.skill.map((v, i) => (known(v) && known(s.low[i]) ? v - s.low[i] : 0));
  return { traces: [{ x, y: s.skill, type: "scatter", mode: "lines+markers", name: "skill",
    line: { color: see.line, width: 1.5 }, marker: { color: see.line, size: 6 },
    error_y: { type: "data", symmetric: false, array: bars, arrayminus: below, color: see.line, thickness: 1, width: 0 },
    hovertemplate: "step %{x}: %{y:+.2%}<extra></extra>" }],
  layout: { xaxis: { title: { text: "steps ahead" }, ...stepped(x.length) }, yaxis: percentAxis("skill"), shapes: [zero(see)], showlegend: false } };
};

PICTURES.width = (d, k, see) => {
  const w = d.served.steps[k].width, label = d.served.steps[k].label;
  if (!w) return { traces: [], layout: {}, nothing: "Too few outcomes yet" };
  const top = 1.08 * Math.max(...w.forecast, ...w.actual);
  return { traces: [
    { x: [0, top], y: [0, top], type: "scatter", mode: "lines", line: { color: see.soft, width: 1, dash: "dot" }, hoverinfo: "skip" },
    { x: w.forecast, y: w.actual, type: "scatter", mode: "markers", marker: { color: see.line, size: 9 }, customdata: w.n,
      hovertemplate: "forecast ±%{x:.1f} bp, moved ±%{y:.1f} bp (%{customdata} forecasts)<extra></extra>" }],
  layout: { xaxis: { title: { text: `forecast for ${label}, ± bp` }, rangemode: "tozero" },
    yaxis: { title: { text: "moved, ± bp" }, rangemode: "tozero" }, showlegend: false } };
};

/** Return an axis of whole steps. */
function stepped(n) {
  return { tick0: 0, dtick: Math.max(1, Math.round(n / 6)), range: [0.5, n + 0.5] };
}

function coverage(c, axis, see, ticks) {
  const line = (name, colour, rgb) => {
    const at = rows(c.at.length).filter(i => known(c[`share${name}`][i]));
    const x = at.map(i => c.at[i]), pick = key => at.map(i => c[key + name][i]);
    return [
      { x: [...x, ...x.slice().reverse()], y: [...pick("high"), ...pick("low").reverse()], type: "scatter", mode: "lines",
        fill: "toself", fillcolor: rgb, line: { width: 0 }, hoverinfo: "skip", showlegend: false },
      { x, y: pick("share"), type: "scatter", mode: "lines+markers", name: `in ${name} %`, line: { color: colour, width: 1.5 },
        marker: { size: 5, color: colour }, customdata: at.map(i => c.n[i]),
        hovertemplate: `${plain(axis)} %{x}: %{y:.1%} in ${name} % (of %{customdata:,})<extra></extra>` }];
  };
  const level = y => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: y, y1: y, line: { color: see.soft, width: 1, dash: "dot" } });
  return { traces: [...line("80", see.line, see.band80), ...line("90", see.second, see.bandsecond)],
    layout: { xaxis: { title: { text: axis }, ...ticks }, yaxis: { tickformat: ".0%" }, shapes: [level(0.8), level(0.9)] }, legend: true };
}
PICTURES["coverage-step"] = (d, k, see) => coverage(d.coverage.step, "steps ahead", see, stepped(d.coverage.step.at.length));
PICTURES["coverage-hour"] = (d, k, see) => coverage(d.coverage.hour, "hour, UTC", see, { dtick: 3, range: [-0.5, 23.5] });

PICTURES.pit = (d, k, see) => {
  const c = d.calibration.find(c => d.served && c.step === d.served.steps[k].step);
  if (!c) return { traces: [], layout: {}, nothing: "No outcome this far ahead yet" };
  const edges = [0, ...c.levels, 1];
  const x = c.between.map((_, i) => (edges[i] + edges[i + 1]) / 2), width = c.between.map((_, i) => edges[i + 1] - edges[i]);
  const relative = c.between.map((v, i) => v / c.expected[i]), slack = c.chance.map((v, i) => v / c.expected[i]);
  const level = (y, dash) => ({ type: "line", x0: 0, x1: 1, y0: y, y1: y, line: { color: see.soft, width: 1, dash } });
  return { traces: [{ x, y: relative, width, type: "bar", marker: { color: see.line, opacity: 0.55, line: { color: see.card, width: 1 } },
    customdata: c.between.map((v, i) => [v, edges[i], edges[i + 1]]),
    hovertemplate: "between %{customdata[1]:.0%} and %{customdata[2]:.0%}: %{customdata[0]:.1%} of the prices<extra></extra>" }],
  layout: { xaxis: { title: { text: `place in the forecast, ${c.label} ahead` }, tickformat: ".0%", range: [0, 1] }, showlegend: false, bargap: 0,
    yaxis: { title: { text: "relative to what is expected" }, tickformat: ".0%", rangemode: "tozero" },
    shapes: [level(1, "solid"), level(1 + slack[0], "dash"), level(Math.max(1 - slack[0], 0), "dash")] } };
};

PICTURES.reliability = (d, k, see) => {
  const colours = [see.line, see.second, see.miss], dashes = ["solid", "dash", "dot"];
  return { traces: d.calibration.map((c, i) => ({ x: c.levels, y: c.below.map((v, j) => 100 * (v - c.levels[j])), type: "scatter",
    mode: "lines+markers", name: c.label, line: { color: colours[i % 3], dash: dashes[i % 3], width: 1.5 }, marker: { size: 4, color: colours[i % 3] },
    hovertemplate: `%{x:.0%} quantile, ${plain(c.label)}: %{y:+.1f} points<extra></extra>` })),
  layout: { xaxis: { title: { text: "quantile" }, tickformat: ".0%", range: [0, 1] }, yaxis: { title: { text: "points off" }, tickformat: "+.1~f" },
    shapes: [zero(see)] }, legend: true };
};

PICTURES.incidents = (d, k, see) => {
  const names = { gap: "missing candles", missed: "missed ticks", failed: "failed ticks", late: "late ticks", fallback: "stand-in forecasts" };
  const colours = { gap: see.soft, missed: see.bad, failed: see.bad, late: see.warn, fallback: see.second };
  const kinds = Object.keys(names).filter(n => d.incidents.some(i => i[0] === n));
  const traces = kinds.map(kind => {
    const x = [], y = [], text = [];
    for (const [, from, to, count, detail] of d.incidents.filter(i => i[0] === kind)) {
      x.push(ms(from), ms(to), null); y.push(names[kind], names[kind], null);
      const label = `${count} × ${names[kind]} ${plain(detail)}`;
      text.push(label, label, "");
    }
    return { x, y, text, type: "scatter", mode: "lines+markers", name: names[kind], line: { color: colours[kind], width: 9 },
      marker: { color: colours[kind], size: 7, symbol: "square" }, hovertemplate: "%{x|%d %b %H:%M} %{text}<extra></extra>" };
  });
  return { traces, layout: { xaxis: { type: "date", range: [ms(d.start), ms(d.now)] }, showlegend: false,
    yaxis: { type: "category", automargin: true, range: [-0.6, kinds.length - 0.4] } } };
};

/** Escape a text from the data: Plotly interprets a small set of tags in its texts. */
function plain(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}
