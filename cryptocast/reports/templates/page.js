(() => {
  const root = document.documentElement;
  const NAMES = ["paper", "card", "ink", "soft", "grid", "line", "band80", "band90", "miss", "up", "down", "good", "warn", "bad", "second", "bandsecond"];
  const DAY = 86400;
  const markets = new Map();
  const drawn = new Set();

  function market(place) {
    if (!markets.has(place)) {
      const data = JSON.parse(document.getElementById(`data-${place}`).textContent);
      const end = data.fan ? data.fan.t[data.fan.t.length - 1] : data.now;
      const t = data.candles.t, first = t.length ? t[0] : data.start;
      const last = Math.max(t.length ? t[t.length - 1] + data.interval : data.start, data.fan ? end : data.start);
      const span = [Math.min(first, last - data.interval), last + data.interval];
      markets.set(place, { data, step: 0, span, view: [Math.max(span[1] - DAY, span[0]), span[1]] });
    }
    return markets.get(place);
  }

  function colours() {
    const style = getComputedStyle(root);
    return Object.fromEntries(NAMES.map(name => [name, style.getPropertyValue(`--${name}`).trim()]));
  }

  /** Add what all pictures share to a picture's own layout. */
  function dressed(layout, see, narrow, legend) {
    const axis = { gridcolor: see.grid, linecolor: see.grid, zeroline: false, tickcolor: see.grid, automargin: true, fixedrange: narrow };
    return {
      ...layout,
      xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
      font: { color: see.ink, size: 12, family: "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif" },
      paper_bgcolor: see.card, plot_bgcolor: see.card, margin: { l: 10, r: 10, t: 18, b: 10 },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
      hoverlabel: { bgcolor: see.paper, bordercolor: see.grid, font: { color: see.ink } },
      dragmode: narrow ? false : "zoom", showlegend: layout.showlegend !== false && (legend || !narrow),
    };
  }

  function draw(place) {
    const state = market(place.dataset.market);
    const see = colours(), narrow = matchMedia("(pointer: coarse), (max-width: 40rem)").matches;
    const { traces, layout, nothing, legend } = PICTURES[place.dataset.picture](state.data, state.step, see, state.view);
    const annotations = [...(layout.annotations || [])];
    if (nothing) annotations.push({ text: nothing, showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5 });
    const bare = nothing ? { xaxis: { visible: false }, yaxis: { visible: false }, shapes: [] } : {};
    // Paper is narrower than most windows, and nothing is redrawn once it has been laid out.
    const size = root.classList.contains("printing") ? { width: place.clientWidth, height: place.clientHeight } : {};
    const config = { displayModeBar: false, responsive: true, showTips: false, doubleClick: "reset+autosize" };
    Plotly.react(place, traces, { ...dressed(layout, see, narrow, legend), ...bare, ...size, annotations }, config);
    if (!drawn.has(place) && place.dataset.picture === "price") follow(place, state);
    drawn.add(place);
  }

  /** Redraw what is in view, in as much detail as fits, when the price chart is zoomed. */
  function follow(place, state) {
    place.on("plotly_relayout", change => {
      const from = change["xaxis.range[0]"], to = change["xaxis.range[1]"];
      if (from !== undefined && to !== undefined) {
        const at = [from, to].map(v => (typeof v === "number" ? v : Date.parse(`${String(v).replace(" ", "T")}Z`)) / 1000);
        if (at.every(Number.isFinite) && at.some((v, i) => Math.abs(v - state.view[i]) > 1)) see(place.dataset.market, at);
      } else if (change["xaxis.autorange"] || change["yaxis.autorange"]) {
        see(place.dataset.market, state.span);
      }
    });
  }

  function see(place, view) {
    const state = market(place);
    const length = Math.min(Math.max(view[1] - view[0], 6 * state.data.interval), state.span[1] - state.span[0]);
    const to = Math.min(Math.max(view[1], state.span[0] + length), state.span[1]);
    state.view = [to - length, to];
    redraw(p => p.dataset.market === place && p.dataset.picture === "price");
    const hours = length / 3600, all = length >= state.span[1] - state.span[0];
    for (const b of document.querySelectorAll(`button[data-hours][data-market="${place}"]`)) {
      const its = Number(b.dataset.hours);
      b.setAttribute("aria-pressed", String(its ? Math.abs(its - hours) < 0.01 : all));
    }
  }

  function redraw(which) {
    for (const place of drawn) if (which(place)) draw(place);
  }

  function controls() {
    for (const b of document.querySelectorAll("button[data-hours]")) {
      b.addEventListener("click", () => {
        const state = market(b.dataset.market), hours = Number(b.dataset.hours), to = state.view[1];
        see(b.dataset.market, hours ? [to - 3600 * hours, to] : state.span);
      });
    }
    for (const b of document.querySelectorAll("button[data-shift]")) {
      b.addEventListener("click", () => {
        const { view } = market(b.dataset.market), by = Number(b.dataset.shift) * (view[1] - view[0]) / 2;
        see(b.dataset.market, view.map(v => v + by));
      });
    }
    for (const b of document.querySelectorAll("input[type=radio][data-market]")) {
      b.addEventListener("change", () => {
        market(b.dataset.market).step = Number(b.value);
        redraw(p => p.dataset.market === b.dataset.market);
      });
      if (b.checked) market(b.dataset.market).step = Number(b.value); // browsers remember forms
    }
  }

  function theme() {
    const button = document.getElementById("theme"), dark = matchMedia("(prefers-color-scheme: dark)");
    const shown = () => root.dataset.theme || (dark.matches ? "dark" : "light");
    const apply = chosen => {
      if (chosen) root.dataset.theme = chosen;
      button.textContent = shown() === "dark" ? "Light colours" : "Dark colours";
      redraw(() => true);
    };
    let kept = null;
    try { kept = localStorage.getItem("cryptocast-theme"); } catch { /* a browser may forbid this for local files */ }
    apply(kept === "dark" || kept === "light" ? kept : null);
    button.hidden = false;
    button.addEventListener("click", () => {
      const next = shown() === "dark" ? "light" : "dark";
      try { localStorage.setItem("cryptocast-theme", next); } catch { /* then the choice is not remembered */ }
      apply(next);
    });
    dark.addEventListener("change", () => apply(null));
    let before;
    window.addEventListener("beforeprint", () => {
      before = root.dataset.theme;
      root.dataset.theme = "light";
      root.classList.add("printing");
      document.querySelectorAll(".plot").forEach(draw);
    });
    window.addEventListener("afterprint", () => {
      root.classList.remove("printing");
      if (before) root.dataset.theme = before; else delete root.dataset.theme;
      redraw(() => true);
      drawn.forEach(place => Plotly.Plots.resize(place));
    });
  }

  theme();
  controls();
  const watcher = new IntersectionObserver(seen => {
    for (const entry of seen) {
      if (entry.isIntersecting) { watcher.unobserve(entry.target); draw(entry.target); }
    }
  }, { rootMargin: "800px" });
  document.querySelectorAll(".plot").forEach(place => watcher.observe(place));
  for (const place of new Set([...document.querySelectorAll(".plot.price")].map(p => p.dataset.market))) see(place, market(place).view);
})();
