// The script of a report. Long, because it is inlined into the page as one block, in
// which its parts share the data and the elements that they make.
"use strict";
{
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

// --- elements

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawn(name, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

// Replaces a select's options; the choice stays where it is still there.
function fill(select, options, fallback) {
  const before = select.value;
  select.replaceChildren(
    ...options.map(([value, text]) => element("option", { value }, text)));
  const values = options.map(([value]) => value);
  select.value = values.includes(before) ? before : fallback ?? values[0] ?? "";
}

function distinct(values) {
  return [...new Set(values)];
}

function figure(value) {
  if (value === null || value === undefined) return "–";
  return String(Number(value.toPrecision(6)));
}

// --- training curves

const chart = (() => {
  const svg = byId("chart");
  const valueOf = byId("curve-value"), stageOf = byId("curve-stage");
  const scaleOf = byId("curve-scale"), cursorAt = byId("curve-at");
  const legend = byId("legend"), table = byId("curve-table");
  const details = byId("curve-details");
  const margin = { left: 64, right: 16, top: 12, bottom: 32 };
  const dashes = ["", "8 4", "2 3", "12 3 2 3", "5 2", "1 5", "14 5", "6 2 2 2 2 2"];
  const hidden = new Set(); // lines that were unchecked, by their names
  const ALL = "all";
  let lines = [], places = [], across = null;

  const quantity = (series) => `${series.name} (${series.phase})`;
  const lineName = (series) => `${series.model}, stage ${series.stage}`;

  function chooseValue() {
    const all = distinct(data.curves.map(quantity));
    const first = all.find((name) => name === "accuracy (test)");
    fill(valueOf, all.map((name) => [name, name]), first ?? all[0]);
    chooseStage();
  }

  function chooseStage() {
    const own = data.curves.filter((series) => quantity(series) === valueOf.value);
    const stages = distinct(own.map((series) => series.stage)).sort();
    const options = stages.map((stage) => [String(stage), `stage ${stage}`]);
    fill(stageOf, [...options, [ALL, "all stages"]], options.at(-1)?.[0]);
    choose();
  }

  function choose() {
    const models = distinct(data.curves.map((series) => series.model));
    lines = data.curves
      .filter((series) => quantity(series) === valueOf.value)
      .filter((s) => stageOf.value === ALL || String(s.stage) === stageOf.value)
      .map((series, index) => ({
        ...series,
        title: lineName(series),
        colour: `c${models.indexOf(series.model) % 8}`,
        dash: dashes[index % dashes.length],
      }));
    drawLegend();
    draw();
    if (details.open) drawTable();
  }

  const visible = () => lines.filter((line) => !hidden.has(line.title));

  function drawLegend() {
    const titles = lines.map((line) => line.title);
    const before = [...legend.querySelectorAll("input")].map((input) => input.value);
    if (titles.length && titles.join() === before.join()) return; // keeps the focus
    legend.replaceChildren(...lines.map((line) => {
      const box = element("input", { type: "checkbox", value: line.title });
      box.checked = !hidden.has(line.title);
      box.addEventListener("change", () => {
        hidden[box.checked ? "delete" : "add"](line.title);
        draw();
      });
      const swatch = drawn("svg", {
        class: `swatch ${line.colour}`, viewBox: "0 0 40 12", "aria-hidden": "true",
      });
      swatch.append(drawn("path", { d: "M0 6H40", "stroke-dasharray": line.dash }));
      const value = element("span", { class: "value" });
      return element("li", {}, element("label", {}, box, swatch, line.title, value));
    }));
  }

  // Round figures from least to most: about `count` of them.
  function ticks(least, most, count) {
    const rough = (most - least) / count || Math.abs(most) || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((each) => each * power >= rough * 0.999);
    const found = [];
    for (let i = Math.ceil(least / step - 1e-9); i * step <= most + step * 1e-9; i++) {
      found.push(i * step);
    }
    return found;
  }

  function logarithmicTicks(least, most) {
    const first = Math.floor(Math.log10(least)), last = Math.ceil(Math.log10(most));
    const parts = last - first > 3 ? [1] : last - first > 1 ? [1, 2, 5] : null;
    if (parts === null) return ticks(least, most, 5).filter((tick) => tick > 0);
    const found = [];
    for (let power = first; power <= last; power++) {
      for (const part of parts) found.push(part * 10 ** power);
    }
    return found.filter((tick) => tick >= least && tick <= most);
  }

  function draw() {
    const width = svg.clientWidth || 600, height = svg.clientHeight || 350;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren();
    const logarithmic = scaleOf.value === "logarithmic";
    const fits = (y) => y !== null && (!logarithmic || y > 0);
    const shown = visible();
    const xs = shown.flatMap((line) => line.x);
    const ys = shown.flatMap((line) => line.y).filter(fits);
    places = distinct(xs).sort((a, b) => a - b);
    moveTo(null);
    const caption = `${valueOf.value} by iteration, ${logarithmic ? "logarithmic" : "linear"}`;
    byId("chart-caption").textContent = ys.length ? caption : "Nothing to draw.";
    if (!ys.length) return;
    const [left, right] = extent(xs);
    let [low, high] = extent(ys);
    if (low === high) {
      const room = Math.abs(low) * 0.1 || 1;
      [low, high] = logarithmic ? [low / 1.1, high * 1.1] : [low - room, high + room];
    }
    const scaled = (y) => (logarithmic ? Math.log10(y) : y);
    across = scale(left, right === left ? left + 1 : right,
      margin.left, width - margin.right);
    const up = scale(scaled(low), scaled(high), height - margin.bottom, margin.top);
    const rise = (y) => up(scaled(y));
    for (const tick of logarithmic ? logarithmicTicks(low, high) : ticks(low, high, 5)) {
      const y = rise(tick);
      svg.append(
        drawn("line", { class: "grid", x1: margin.left, x2: width - margin.right, y1: y, y2: y }),
        drawn("text", { class: "tick-y", x: margin.left - 8, y: y + 4,
          "text-anchor": "end" }, figure(tick)));
    }
    const whole = ticks(left, right, width / 110).filter(Number.isInteger);
    for (const tick of whole) {
      svg.append(drawn("text", { class: "tick-x", x: across(tick), y: height - 10,
        "text-anchor": "middle" }, tick.toLocaleString("en")));
    }
    for (const line of shown) drawLine(line, fits, rise);
    svg.append(drawn("line", { class: "cursor", y1: margin.top, y2: height - margin.bottom }));
    moveTo(null);
  }

  // A gap where a value does not fit: one that is not finite, or has no logarithm.
  function drawLine(line, fits, rise) {
    const group = drawn("g", { class: line.colour, "data-line": line.title });
    let path = "", within = false;
    line.y.forEach((y, i) => {
      if (fits(y)) {
        path += `${within ? "L" : "M"}${across(line.x[i]).toFixed(2)} ${rise(y).toFixed(2)}`;
      }
      within = fits(y);
    });
    group.append(drawn("path", { class: "line", d: path, "stroke-dasharray": line.dash }));
    if (line.x.length <= 30) {
      line.y.forEach((y, i) => {
        if (!fits(y)) return;
        group.append(drawn("circle", { cx: across(line.x[i]), cy: rise(y), r: 3 }));
      });
    }
    svg.append(group);
  }

  const extent = (values) => values.reduce(
    ([least, most], value) => [Math.min(least, value), Math.max(most, value)],
    [Infinity, -Infinity]);

  function scale(from, to, start, end) {
    return (value) => start + ((value - from) / (to - from)) * (end - start);
  }

  // Shows the values at a place; null: at the slider's, or the last one before it moved.
  function moveTo(index) {
    const last = Math.max(0, places.length - 1);
    const followed = cursorAt.value === cursorAt.max;
    cursorAt.max = last;
    if (index !== null) cursorAt.value = index;
    else if (followed) cursorAt.value = last;
    const at = places[Number(cursorAt.value)];
    byId("curve-iteration").textContent = at === undefined ? "" : at.toLocaleString("en");
    const said = [];
    for (const item of legend.children) {
      const line = lines.find((each) => each.title === item.querySelector("input").value);
      const value = hidden.has(line.title) || at === undefined ? null : valueAt(line, at);
      item.querySelector(".value").textContent = figure(value);
      if (value !== null) said.push(`${line.title} ${figure(value)}`);
    }
    cursorAt.setAttribute("aria-valuetext", `iteration ${at ?? "none"}: ${said.join("; ")}`);
    const cursor = svg.querySelector(".cursor");
    if (cursor && at !== undefined) {
      cursor.setAttribute("x1", across(at));
      cursor.setAttribute("x2", across(at));
    }
  }

  // A line's value at an iteration, or the last one before it.
  function valueAt(line, iteration) {
    const index = line.x.findLastIndex((x) => x <= iteration);
    return index < 0 ? null : line.y[index];
  }

  function nearest(event) {
    const at = event.clientX - svg.getBoundingClientRect().left;
    let best = 0;
    places.forEach((place, index) => {
      const distance = Math.abs(across(place) - at);
      if (distance < Math.abs(across(places[best]) - at)) best = index;
    });
    return best;
  }

  function drawTable() {
    const shown = visible();
    const head = element("tr", {}, element("th", { scope: "col" }, "Iteration"),
      ...shown.map((line) => element("th", { scope: "col", class: "number" }, line.title)));
    const found = shown.map((line) => new Map(line.x.map((x, i) => [x, line.y[i]])));
    const rows = places.map((place) => element("tr", {},
      element("th", { scope: "row" }, place.toLocaleString("en")),
      ...found.map((own) => element("td", { class: "number" }, figure(own.get(place))))));
    table.replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
  }

  valueOf.addEventListener("change", chooseStage);
  stageOf.addEventListener("change", choose);
  scaleOf.addEventListener("change", draw);
  cursorAt.addEventListener("input", () => moveTo(Number(cursorAt.value)));
  for (const kind of ["pointermove", "pointerdown"]) {
    svg.addEventListener(kind, (event) => {
      if (places.length && across) moveTo(nearest(event));
    });
  }
  details.addEventListener("toggle", () => { if (details.open) drawTable(); });
  new ResizeObserver(draw).observe(svg);
  chooseValue();
  return { update: chooseValue };
})();

// --- pictures that are compared in place

// Makes a button's picture `first`, and `second` while the pointer is on it, while the
// keyboard's focus is, or after it was pressed. Returns a function that shows two others.
function flip(button, caption) {
  const image = button.querySelector("img");
  let pair = null, hovered = false, focused = false;
  const pressed = () => button.getAttribute("aria-pressed") === "true";

  function show() {
    const shown = hovered || focused || pressed() ? pair.second : pair.first;
    image.src = shown.picture;
    image.alt = shown.text;
    caption.textContent = shown.text;
  }
  const state = (change) => (event) => { change(event); if (pair) show(); };
  button.addEventListener("pointerenter",
    state((event) => { hovered = event.pointerType === "mouse"; }));
  button.addEventListener("pointerleave", state(() => { hovered = false; }));
  button.addEventListener("focus",
    state(() => { focused = button.matches(":focus-visible"); }));
  button.addEventListener("blur", state(() => { focused = false; }));
  // A press switches what is shown; under a mouse that is the second one anyway.
  button.addEventListener("click", state(() => {
    const kept = (hovered || !focused) && !pressed();
    button.setAttribute("aria-pressed", String(kept));
    focused = false;
  }));
  return {
    show: (first, second) => { pair = { first, second }; show(); },
    ignoreFocus: () => { focused = false; },
  };
}

// --- reconstructions

if (data.reconstructions) {
  const { names, originals, decoded } = data.reconstructions;
  const imageOf = byId("image"), modelOf = byId("model"), depthOf = byId("depth");
  const overview = byId("overview"), button = byId("reconstruction");
  const { show, ignoreFocus } = flip(button, byId("reconstruction-caption"));
  const depthName = (depth) => depth === "default" ? "the default layer" : `macro-layer ${depth}`;

  function choose() {
    const depths = Object.keys(decoded[modelOf.value]);
    fill(depthOf, depths.map((depth) => [depth, depthName(depth)]), depths.at(-1));
    const index = Number(imageOf.value);
    const [picture, error] = decoded[modelOf.value][depthOf.value][index];
    const where = `${modelOf.value}, from ${depthName(depthOf.value)}`;
    show(
      { picture, text: `Reconstruction: ${where}; ‖x̂−x‖² ${figure(error)}` },
      { picture: originals[index], text: `Original: ${names[index]}` });
    drawOverview(index);
  }

  function drawOverview(index) {
    const depths = distinct(Object.values(decoded).flatMap(Object.keys))
      .sort((a, b) => Number(a) - Number(b));
    overview.tHead.replaceChildren(element("tr", {},
      element("th", { scope: "col" }, "Model"),
      element("th", { scope: "col" }, "original"),
      ...depths.map((depth) => element("th", { scope: "col" }, depthName(depth)))));
    const focused = document.activeElement?.dataset.cell;
    overview.tBodies[0].replaceChildren(...Object.entries(decoded).map(([model, own]) =>
      element("tr", {}, element("th", { scope: "row" }, model),
        element("td", {}, element("img", { src: originals[index], alt: names[index] })),
        ...depths.map((depth) => element("td", {},
          ...(own[depth] ? cell(model, depth, own[depth][index]) : []))))));
    if (focused) overview.querySelector(`[data-cell="${CSS.escape(focused)}"]`)?.focus();
  }

  function cell(model, depth, [picture, error]) {
    const chosen = model === modelOf.value && depth === depthOf.value;
    const own = element("button", {
      type: "button", "aria-pressed": String(chosen), "data-cell": `${model} ${depth}`,
      "aria-label": `Show ${model}, ${depthName(depth)}`,
    }, element("img", { src: picture, alt: "" }));
    own.addEventListener("click", () => {
      modelOf.value = model;
      choose();
      depthOf.value = depth;
      choose();
    });
    return [own, element("span", {}, figure(error))];
  }

  function step(select, by) {
    const index = select.selectedIndex + by;
    if (index >= 0 && index < select.options.length) select.selectedIndex = index;
    choose();
  }

  const keys = {
    ArrowLeft: [depthOf, -1], ArrowRight: [depthOf, 1],
    ArrowUp: [modelOf, -1], ArrowDown: [modelOf, 1],
  };
  button.addEventListener("keydown", (event) => {
    if (!(event.key in keys)) return;
    event.preventDefault();
    ignoreFocus();
    step(...keys[event.key]);
  });
  for (const select of [imageOf, modelOf, depthOf]) {
    select.addEventListener("change", choose);
  }
  fill(imageOf, names.map((name, index) => [String(index), name]));
  const models = Object.keys(decoded);
  fill(modelOf, models.map((model) => [model, model]), models.at(-1));
  choose();
}

// --- filters

if (data.filters.length) {
  const select = byId("filters-of");
  const { show } = flip(byId("filters-button"), byId("filters-caption"));
  const choose = () => {
    const own = data.filters[Number(select.value)];
    byId("filters-figure").hidden = !own.layer;
    if (!own.layer) return;
    show(
      { picture: own.after, text: `After: ${own.layer}, ${own.title}` },
      { picture: own.before, text: `Before: ${own.layer}, ${own.title}` });
  };
  fill(select, data.filters.map((own, index) => [String(index), own.title]),
    String(data.filters.length - 1));
  select.addEventListener("change", choose);
  choose();
}

// --- following a run

const interval = 1000 * Number(document.body.dataset.live || 0);
if (interval) {
  const shown = new Map(); // section -> its HTML
  let withoutPictures = "";

  const left = (seconds) => {
    if (seconds === null) return "";
    const whole = Math.round(seconds);
    const two = (value) => String(value).padStart(2, "0");
    const [hour, minute, second] =
      [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    return `, ${hour ? `${hour}:${two(minute)}` : minute}:${two(second)} left`;
  };

  const focusName = (each) => each.matches("summary")
    ? each.parentElement.id
    : each.getAttribute("aria-label");

  // The sections' HTML comes from the server, which escapes all that files say.
  function replace(section, html) {
    if (shown.get(section) === html) return;
    shown.set(section, html);
    const place = document.querySelector(`[data-section="${section}"]`);
    const open = [...place.querySelectorAll("details[open]")].map((each) => each.id);
    const scrolled = [...place.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
    const active = document.activeElement;
    const focused = place.contains(active) ? focusName(active) : null;
    place.innerHTML = html;
    for (const id of open) byId(id)?.setAttribute("open", "");
    place.querySelectorAll(".scroll").forEach((each, i) => { each.scrollLeft = scrolled[i] ?? 0; });
    if (focused === null) return;
    [...place.querySelectorAll("summary, [tabindex]")]
      .find((each) => focusName(each) === focused)?.focus({ preventScroll: true });
  }

  function show(news) {
    for (const [section, html] of Object.entries(news.sections)) replace(section, html);
    data.curves = news.curves;
    chart.update();
    const running = news.running.map((stage) =>
      `${stage.title}: iteration ${stage.iterations.toLocaleString("en")}${left(stage.seconds_left)}`);
    const time = new Date().toLocaleTimeString();
    byId("followed").textContent =
      `As of ${time}: ${running.join("; ") || "no stage is running"}.`;
    const finished = news.without_pictures.join("; ");
    if (finished === withoutPictures) return;
    withoutPictures = finished;
    byId("said").textContent = finished
      && `Newly finished: ${finished}. Load the page again for their pictures.`;
  }

  async function follow() {
    try {
      const answer = await fetch("/data.json", { cache: "no-store" });
      const news = await answer.json();
      if (news.error) byId("followed").textContent = news.error;
      else show(news);
    } catch {
      byId("followed").textContent =
        "The report's server does not answer; this is what it said last.";
    }
    setTimeout(follow, interval);
  }
  follow();
}
}
