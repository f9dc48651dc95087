// The lists beside the points: findings, and the most confused classes.
"use strict";
const LISTS = {conflicts: "Contradicting labels: equal images, several classes",
  leaks: "Leaks: equal images in two splits",
  near_leaks: "Near leaks: similar images in two splits",
  label_errors: "Suspected label errors",
  more_label_errors: "Less suspect labels",
  copies: "Copies: equal images in one split and class"};

// Adds a section with a list, folded if it is empty or less important.
function section(id, title, entries, folded = false) {
  const box = make("details", "", make("section", "", by("lists")));
  make("h2", title, make("summary", "", box)).id = `${id}-title`;
  box.open = entries.length > 0 && !folded;
  const list = make("div", "", box);
  list.id = id;
  list.className = "list";
  list.append(...entries);
}

function list(id) {
  const found = DATA[id], all = DATA[`all_${id}`];
  const less = id === "more_label_errors";
  section(id, `${LISTS[id]}: ${text(all)}` +
    (all > found.length ? `, the first ${found.length}` : "") +
    (less && all ? "; with them, more than " +
      `${Math.round(100 * DATA.accepted)} % false are expected` : ""),
  found.map(({points, more}) => {
    const one = make("button", "");
    points.slice(0, 2).forEach(k => one.append(picture(k, 32)));
    const label = k => DATA.names[DATA.label[k]], k = points[0];
    make("span", id.endsWith("label_errors") ?
      `${DATA.where[k]}: ${label(k)}, neighbours predict ` +
      DATA.names[DATA.voted[k]] :
      points.map(k => DATA.where[k] + (id === "conflicts" ?
        `: ${label(k)}` : "")).join(id === "conflicts" ? "; " : ", ") +
      (more ? ` and ${text(more)} more` : ""), one);
    one.onclick = () => select(k);
    return one;
  }), less);
}

function pairs() {
  section("pairs", "Most confused classes, by neighbours", DATA.pairs.map(([a, b, times]) => {
    const one = make("button", "");
    make("span", `${DATA.names[a]} and ${DATA.names[b]}: ${text(times)} ` +
      (times === 1 ? "image" : "images"), one);
    one.onclick = () => onlyClasses([a, b]);
    return one;
  }));
}
