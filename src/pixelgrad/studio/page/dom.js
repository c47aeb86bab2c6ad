// Small helpers to make and find elements; no text of the page is ever parsed as HTML.

export const $ = (id) => document.getElementById(id);

/** An element with properties (aria- and data- names, `class`, `role`, … as attributes; `on…` as listeners) and children. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key in node && !key.includes("-") && key !== "list") node[key] = value;
    else node.setAttribute(key === "className" ? "class" : key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

/** Put children into a node in place of what it held. */
export function fill(node, ...children) {
  node.replaceChildren(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

/** A row of buttons of which one is pressed. `options`: [[value, text], …]. */
export function choice(label, options, value, onchange) {
  const buttons = options.map(([key, text]) =>
    el("button", { type: "button", "aria-pressed": String(key === value), onclick: () => press(key) }, text));
  function press(key) {
    buttons.forEach((b, i) => b.setAttribute("aria-pressed", String(options[i][0] === key)));
    onchange(key);
  }
  return el("div", { className: "segments", role: "group", "aria-label": label }, buttons);
}

/** A number with three figures that count. */
export function figures(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  return (size >= 1e-3 && size < 1e5 ? String(Number(value.toPrecision(3))) : value.toExponential(1)).replace("-", "−");
}

export const percent = (p) => `${(100 * p).toFixed(1)}%`;
