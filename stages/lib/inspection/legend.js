// The legend: signs of the groups, search, and what is in view.
"use strict";
// Okabe and Ito's colours, safe for colour-blind readers, then lighter ones.
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7",
  "#56b4e9", "#a8980a", "#8c6bb1", "#8d8d8d", "#b15928", "#66c2a5", "#fb8072"];
// The second sign, where a colour is used again: Plotly's name, and a letter.
const MARKS = [["circle", "\u25cf"], ["square", "\u25a0"],
  ["triangle-up", "\u25b2"], ["diamond", "\u25c6"], ["cross", "\u271a"],
  ["triangle-down", "\u25bc"], ["x", "\u2715"], ["star", "\u2605"],
  ["circle-open", "\u25cb"], ["square-open", "\u25a1"]];
const STYLES = COLOURS.length * MARKS.length;    // more in view are grey
const FOLDED = 20;      // with more names, the legend is folded at first
const ENTRIES = 300;    // of the legend, at most; the search finds the others
const NAMED = 8;        // groups in view that are named if others are hidden
const hidden = new Set();
let many = [];      // points of each group
let worst = [];     // groups, the most mistaken first
let styles = {};    // of the groups in view: a number below STYLES

function grouping() {
  const [names, group] = COLOURINGS[by("colour").value];
  const mistakes = names.map(() => 0);
  many = names.map(() => 0);
  for (let k = 0; k < count; k++) {
    many[group(k)]++;
    if (predicted[k] !== DATA.label[k]) mistakes[group(k)]++;
  }
  worst = [...names.keys()].sort((a, b) => mistakes[b] - mistakes[a] || a - b);
  hidden.clear();
}

// Gives no style twice, and a group its own one where that is free.
function style() {
  const inView = worst.filter(g => many[g] && !hidden.has(g));
  const used = new Set(), later = [];
  styles = {};
  for (const g of inView.slice(0, STYLES)) {
    if (used.has(g % STYLES)) later.push(g);
    else used.add(styles[g] = g % STYLES);
  }
  let free = 0;
  for (const g of later) {
    while (used.has(free)) free++;
    used.add(styles[g] = free);
  }
  const [names] = COLOURINGS[by("colour").value], seen = inView.length;
  by("all").textContent = hidden.size ? "Show all" : "Hide all";
  by("count").textContent = names === DATA.names ?
    `Legend: ${text(names.length)} classes` : "Legend";
  by("note").replaceChildren();
  if (seen > STYLES) {
    by("note").textContent = `${text(seen)} in view; the ${STYLES} with most ` +
      "mistakes have colours, the others are grey";
  } else if (hidden.size && seen > NAMED) {
    by("note").textContent = `${text(seen)} of ${text(names.length)} in view`;
  } else if (hidden.size) {
    for (const g of inView.sort((a, b) => a - b))
      make("span", "", by("note")).append(sign(g), names[g], " ");
  }
}

// Draws points and legend again, after a change of what is in view.
function show() {
  style();
  legend();
  return draw();
}

function only(groups) {
  const [names] = COLOURINGS[by("colour").value];
  names.forEach((_, g) => hidden.add(g));
  groups.forEach(g => hidden.delete(g));
  show();
}

function onlyClasses(classes) {
  if (by("colour").value !== "class") colour("class");
  only(classes);
}

// Returns the sign of a group: a letter in its colour; a point if grey.
function sign(g) {
  const mark = make("span", g in styles ?
    MARKS[Math.floor(styles[g] / COLOURS.length)][1] : "\u00b7");
  mark.className = "mark";
  mark.setAttribute("aria-hidden", "true");
  if (g in styles) mark.style.color = COLOURS[styles[g] % COLOURS.length];
  return mark;
}

function entry(name, g) {
  const box = make("span", "");
  const one = make("button", "", box);
  box.className = "entry";
  one.append(sign(g), `${name} ${text(many[g])}`);
  one.title = name;
  one.setAttribute("aria-pressed", String(!hidden.has(g)));
  one.onclick = () => {
    hidden.has(g) ? hidden.delete(g) : hidden.add(g);
    show();
    by("legend").querySelector(`[data-group="${g}"]`).focus();
  };
  one.dataset.group = g;
  const alone = make("button", "only", box);
  alone.setAttribute("aria-label", `only ${name}`);
  alone.onclick = () => only([g]);
  return box;
}

// Returns the groups whose names match the search; of more than have signs,
// the most mistaken first.
function matches() {
  const [names] = COLOURINGS[by("colour").value];
  const wanted = by("search").value.toLowerCase();
  return (names.length > STYLES ? worst : [...names.keys()]).filter(g => names[g].toLowerCase().includes(wanted));
}

function legend() {
  const [names] = COLOURINGS[by("colour").value];
  const found = matches(), place = by("legend").scrollTop;
  if (!by("folded").open) return by("legend").replaceChildren();
  by("legend").replaceChildren(...found.slice(0, ENTRIES).map(
    g => entry(names[g], g)));
  by("legend").scrollTop = place;
  by("matching").textContent = `Only these ${text(found.length)}`;
  by("matching").disabled = !found.length || found.length === names.length;
  by("rest").textContent = found.length > ENTRIES ?
    `and ${text(found.length - ENTRIES)} more: search for them` : "";
}

function colour(name) {
  const [names] = COLOURINGS[by("colour").value = name];
  by("search").value = "";
  grouping();
  by("folded").open = names.length <= FOLDED;
}

function listen() {
  by("all").onclick = () => {
    if (hidden.size) hidden.clear();
    else many.forEach((_, g) => hidden.add(g));
    show();
  };
  by("folded").ontoggle = legend;
  by("search").oninput = legend;
  by("search").onkeydown = event => {
    if (event.key === "Enter" && by("search").value) only(matches());
  };
  by("matching").onclick = () => only(matches());
}
