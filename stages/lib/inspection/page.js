// Draws the points; mouse, finger and keyboard select them.
"use strict";
// Okabe and Ito's colours, safe for colour-blind readers, then lighter ones.
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7",
  "#56b4e9", "#a8980a", "#8c6bb1", "#8d8d8d", "#b15928", "#66c2a5", "#fb8072"];
const MARKS = ["circle", "diamond", "square", "triangle-up", "cross"];
const STYLES = COLOURS.length * MARKS.length;    // more classes share them
const by = id => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");
const count = DATA.x.length;
const rows = Math.ceil(count / DATA.columns);
const predicted = DATA.predicted || DATA.voted;
const source = DATA.predicted ? "head" : "neighbours";
const COLOURINGS = {
  class: [DATA.names, k => DATA.label[k]],
  mistake: [["right", `wrong (${source})`],
    k => predicted[k] === DATA.label[k] ? 0 : 1],
  split: [DATA.splits, k => DATA.split[k]],
};
const hidden = new Set();
let selected = -1;

function make(tag, text, parent) {
  const one = document.createElement(tag);
  one.textContent = text;
  if (parent) parent.append(one);
  return one;
}

function picture(k, side) {
  const one = make("span", "");
  const column = k % DATA.columns, row = Math.floor(k / DATA.columns);
  one.className = "picture";
  one.setAttribute("role", "img");
  one.setAttribute("aria-label", DATA.where[k]);
  one.style.cssText = `width:${side}px;height:${side}px;` +
    `background-size:${DATA.columns * side}px ${rows * side}px;` +
    `background-position:${-column * side}px ${-row * side}px`;
  return one;
}

function words(k) {
  const box = make("span", "");
  make("strong", DATA.names[DATA.label[k]], box);
  make("div", DATA.where[k], box);
  if (DATA.predicted)
    make("div", `head predicts ${DATA.names[DATA.predicted[k]]}`, box);
  make("div", `neighbours predict ${DATA.names[DATA.voted[k]]}`, box);
  return box;
}

function traces() {
  const [names, group] = COLOURINGS[by("colour").value];
  const found = names.slice(0, STYLES).map((_, g) => ({
    type: "scattergl", mode: "markers", x: [], y: [], customdata: [],
    hoverinfo: "none", visible: true,
    marker: {size: 6, opacity: 0.8, color: COLOURS[g % COLOURS.length],
      symbol: MARKS[Math.floor(g / COLOURS.length)]}}));
  for (let k = 0; k < count; k++) {
    if (hidden.has(group(k))) continue;
    const one = found[group(k) % STYLES];
    one.x.push(DATA.x[k]);
    one.y.push(DATA.y[k]);
    one.customdata.push(k);
  }
  const ring = selected < 0 ? [] : [selected, ...DATA.near[selected]];
  found.push({type: "scatter", mode: "markers", hoverinfo: "skip",
    x: ring.map(k => DATA.x[k]), y: ring.map(k => DATA.y[k]),
    marker: {symbol: "circle-open", size: ring.map((_, n) => n ? 11 : 18),
      color: dark.matches ? "#ffffff" : "#000000", line: {width: 2}}});
  return found;
}

function draw() {
  const axis = {visible: false};
  return Plotly.react("plot", traces(), {
    margin: {l: 8, r: 8, t: 8, b: 8}, showlegend: false, hovermode: "closest",
    dragmode: "pan", uirevision: "kept", xaxis: axis, yaxis: axis,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    modebar: {color: dark.matches ? "#b0b0b0" : "#595959",
      bgcolor: "rgba(0,0,0,0)"},
  }, {responsive: true, scrollZoom: true, displaylogo: false,
    modeBarButtons: [["zoomIn2d", "zoomOut2d", "resetScale2d"]]});
}

function legend() {
  const [names, group] = COLOURINGS[by("colour").value];
  const many = names.map(() => 0);
  for (let k = 0; k < count; k++) many[group(k)]++;
  by("legend").replaceChildren(...names.map((name, g) => {
    const one = make("button", "");
    const dot = make("span", "", one);
    dot.className = "dot";
    dot.style.background = COLOURS[g % COLOURS.length];
    one.append(`${name} ${many[g].toLocaleString("en")}`);
    one.title = name;
    one.setAttribute("aria-pressed", String(!hidden.has(g)));
    one.onclick = () => {
      hidden.has(g) ? hidden.delete(g) : hidden.add(g);
      one.setAttribute("aria-pressed", String(!hidden.has(g)));
      all();
      draw();
    };
    return one;
  }));
  by("note").textContent = names.length <= STYLES ? "" :
    `${names.length.toLocaleString("en")} classes; ` +
    `colours and marks repeat after ${STYLES}`;
  all();
}

function all() {
  const [names] = COLOURINGS[by("colour").value];
  by("all").textContent = hidden.size ? "Show all" : "Hide all";
  by("all").onclick = () => {
    if (hidden.size) hidden.clear(); else names.forEach((_, g) => hidden.add(g));
    legend();
    draw();
  };
}

function select(k) {
  selected = k;
  by("shown").replaceChildren(picture(k, 128), words(k));
  by("neighbours").replaceChildren(...DATA.near[k].map(n => {
    const one = make("button", "");
    one.append(picture(n, 48));
    make("div", DATA.names[DATA.label[n]], one);
    one.title = DATA.where[n];
    one.onclick = () => select(n);
    return one;
  }));
  draw();
}

function list(id, title) {
  const found = DATA[id], all = DATA[`all_${id}`];
  by(`${id}-title`).textContent = `${title}: ${all.toLocaleString("en")}` +
    (all > found.length ? `, the first ${found.length}` : "");
  by(id).replaceChildren(...found.map(group => {
    const one = make("button", "");
    group.slice(0, 2).forEach(k => one.append(picture(k, 32)));
    const k = group[0];
    make("span", id.endsWith("leaks") ? group.map(n => DATA.where[n]).join(", ") :
      `${DATA.where[k]}: ${DATA.names[DATA.label[k]]}, neighbours predict ` +
      DATA.names[DATA.voted[k]], one);
    one.onclick = () => select(k);
    return one;
  }));
}

function hover(event) {
  const box = by("hover"), k = event.points[0].customdata;
  box.replaceChildren(picture(k, 64), words(k));
  box.style.display = "flex";
  const {clientX: x, clientY: y} = event.event;
  box.style.left =
    `${Math.max(0, Math.min(x + 14, innerWidth - box.offsetWidth - 8))}px`;
  box.style.top = `${Math.max(0, y + box.offsetHeight + 24 > innerHeight ?
    y - box.offsetHeight - 14 : y + 14)}px`;
}

by("key").textContent = `${DATA.key}; ${count.toLocaleString("en")} of ` +
  `${DATA.images.toLocaleString("en")} images`;
for (const name in COLOURINGS) {
  const one = make("option", name, by("colour"));
  one.value = name;
}
by("colour").onchange = () => { hidden.clear(); legend(); draw(); };
list("label_errors", "Suspected label errors");
list("leaks", "Leaks: equal images in two splits");
list("near_leaks", "Near leaks: similar images in two splits");
legend();
draw().then(plot => {
  plot.on("plotly_hover", hover);
  plot.on("plotly_unhover", () => { by("hover").style.display = "none"; });
  plot.on("plotly_click", event => select(event.points[0].customdata));
  document.body.dataset.ready = "yes";
});
dark.addEventListener("change", draw);
