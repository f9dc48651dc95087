// Draws the points; mouse, finger and keyboard select them.
"use strict";
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
const text = number => number.toLocaleString("en");
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
  const [, group] = COLOURINGS[by("colour").value];
  const layer = marker => ({type: "scattergl", mode: "markers", x: [], y: [],
    customdata: [], hoverinfo: "none", marker: {size: 6, ...marker}});
  const grey = layer({color: dark.matches ? "#71757e" : "#a6a6a6",
    opacity: 0.5, size: 5});
  const found = MARKS.map(([symbol]) => layer({symbol, color: [], opacity: 0.85}));
  for (let k = 0; k < count; k++) {
    const g = group(k);
    if (hidden.has(g)) continue;
    const one = g in styles ?
      found[Math.floor(styles[g] / COLOURS.length)] : grey;
    one.x.push(DATA.x[k]);
    one.y.push(DATA.y[k]);
    one.customdata.push(k);
    if (one !== grey) one.marker.color.push(COLOURS[styles[g] % COLOURS.length]);
  }
  return [grey, ...found, {...ring(), type: "scatter", mode: "markers",
    hoverinfo: "skip"}];
}

// Marks the selected point and its neighbours.
function ring() {
  const shown = selected < 0 ? [] : [selected, ...DATA.near[selected]];
  return {x: shown.map(k => DATA.x[k]), y: shown.map(k => DATA.y[k]),
    marker: {symbol: "circle-open", size: shown.map((_, n) => n ? 11 : 18),
      color: dark.matches ? "#ffffff" : "#000000", line: {width: 2}}};
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

function select(k) {
  selected = k;
  const about = words(k), one = make("button", "Only this class", about);
  one.onclick = () => onlyClasses([DATA.label[k]]);
  by("shown").replaceChildren(picture(k, 128), about);
  by("neighbours").replaceChildren(...DATA.near[k].map(n => {
    const one = make("button", "");
    one.append(picture(n, 48));
    make("div", DATA.names[DATA.label[n]], one);
    one.title = DATA.where[n];
    one.onclick = () => select(n);
    return one;
  }));
  const {x, y, marker} = ring();
  Plotly.restyle("plot", {x: [x], y: [y], "marker.size": [marker.size]},
    [MARKS.length + 1]);
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

by("key").textContent = `${DATA.key}; ${text(count)} of ` +
  `${text(DATA.images)} images`;
for (const name in COLOURINGS) make("option", name, by("colour")).value = name;
by("colour").onchange = event => {
  colour(event.target.value);
  show();
};
listen();
list("conflicts");
pairs();
Object.keys(LISTS).slice(1).forEach(list);
colour("class");
show().then(plot => {
  plot.on("plotly_hover", hover);
  plot.on("plotly_unhover", () => { by("hover").style.display = "none"; });
  plot.on("plotly_click", event => select(event.points[0].customdata));
  document.body.dataset.ready = "yes";
});
dark.addEventListener("change", draw);
