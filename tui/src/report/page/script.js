"use strict";
// The page is whole without this. With it, a pointer over a chart shows the values there, in all charts of
// the run at once, and a click on a column's title sorts its table.

const parsed = new WeakMap();
const points = (figure) => {
  if (!parsed.has(figure)) {
    const point = (text) => {
      const [steps, mean, low, high] = text.split(",");
      const last = Number(steps.slice(steps.lastIndexOf("-") + 1));
      return { steps, last, mean, low, high };
    };
    parsed.set(figure, figure.dataset.points.split(";").map(point));
  }
  return parsed.get(figure);
};

const nearest = (list, step) => {
  let [low, high] = [0, list.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle].last < step) low = middle + 1;
    else high = middle;
  }
  const before = list[low - 1];
  return before && step - before.last < list[low].last - step ? before : list[low];
};

const span = (figure) => figure.dataset.span.split(" ").map(Number);

const show = (figure, step) => {
  const output = figure.querySelector("output");
  const canvas = figure.querySelector(".canvas");
  const [first, last] = span(figure);
  const point = nearest(points(figure), step);
  let cross = canvas.querySelector(".cross");
  if (!cross) {
    cross = canvas.appendChild(document.createElement("i"));
    cross.className = "cross";
    output.dataset.summary = output.textContent;
  }
  cross.hidden = false;
  cross.style.left = `${((point.last - first) / Math.max(last - first, 1)) * 100}%`;
  const range = point.low === undefined ? "" : ` (${point.low} to ${point.high})`;
  const steps = point.steps.replace("-", "–");
  const place = figure.dataset.unit === "step" ? `step ${steps}` : `${steps} ${figure.dataset.unit}`;
  output.textContent = `${place}: ${point.mean}${range}`;
  output.classList.add("reading");
};

const rest = (figure) => {
  const cross = figure.querySelector(".cross");
  if (!cross) return;
  cross.hidden = true;
  const output = figure.querySelector("output");
  output.textContent = output.dataset.summary;
  output.classList.remove("reading");
};

for (const article of document.querySelectorAll("article")) {
  const figures = [...article.querySelectorAll("figure.chart")];
  const alike = (figure) => figures.filter((other) => other.dataset.unit === figure.dataset.unit);
  for (const figure of figures) {
    const canvas = figure.querySelector(".canvas");
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect();
      const [first, last] = span(figure);
      const step = first + ((event.clientX - box.left) / box.width) * (last - first);
      for (const other of alike(figure)) show(other, step);
    });
    canvas.addEventListener("pointerleave", () => alike(figure).forEach(rest));
  }
}

const value = (row, column) => {
  const cell = row.cells[column];
  const text = cell.dataset.sort ?? cell.textContent.replaceAll(",", "");
  const number = Number.parseFloat(text);
  return { text, number };
};

for (const table of document.querySelectorAll("table.sortable")) {
  const titles = [...table.tHead.rows[0].cells];
  for (const [column, title] of titles.entries()) {
    if (!title.textContent) continue;
    title.className += " sorts";
    title.tabIndex = 0;
    const sort = () => {
      const sign = title.ariaSort === "descending" ? 1 : -1;
      titles.forEach((other) => other.removeAttribute("aria-sort"));
      title.ariaSort = sign < 0 ? "descending" : "ascending";
      const rows = [...table.tBodies[0].rows].map((row) => [row, value(row, column)]);
      rows.sort(([, a], [, b]) => {
        if (Number.isNaN(a.number) && Number.isNaN(b.number)) return sign * a.text.localeCompare(b.text);
        if (Number.isNaN(a.number) !== Number.isNaN(b.number)) return Number.isNaN(a.number) ? 1 : -1;
        return sign * (a.number - b.number);
      });
      table.tBodies[0].append(...rows.map(([row]) => row));
    };
    title.addEventListener("click", sort);
    title.addEventListener("keydown", (event) => {
      if (event.key === "Enter") sort();
    });
  }
}
