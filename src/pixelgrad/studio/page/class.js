// Choosing a class by typing: a combobox that asks the server for the names nearest to what is typed.

import { get } from "./api.js";
import { el, fill } from "./dom.js";
import { t } from "./words.js";

let count = 0;

/** An input for a class of a model. `onchoose(label or "")` when one is taken or the field is emptied. */
export function classChooser(model, value, placeholder, onchoose) {
  const id = `classes-${++count}`;
  let found = [];
  let active = -1;
  let timer = 0;
  let asked = 0;
  let stale = false; // whether something was typed since the names were asked for
  const list = el("ul", { id, role: "listbox", className: "options", hidden: true, "aria-label": t("target") });
  const input = el("input", {
    type: "text", value, placeholder, role: "combobox", autocomplete: "off", spellcheck: false,
    "aria-expanded": "false", "aria-controls": id, "aria-autocomplete": "list",
    oninput: () => { clearTimeout(timer); stale = true; timer = setTimeout(search, 120); },
    onkeydown: key,
    onfocus: () => { if (!input.value) search(); },
    onblur: leave, // a press on a name does not take the focus away
  });
  const said = el("span", { className: "unseen", "aria-live": "polite" });

  async function search() {
    const number = ++asked;
    const typed = input.value;
    clearTimeout(timer);
    stale = false;
    try {
      const labels = await get(`/api/models/${encodeURIComponent(model)}/labels?q=${encodeURIComponent(typed.trim())}`);
      if (number !== asked || input.value !== typed || document.activeElement !== input) return;
      found = labels;
    } catch {
      return;
    }
    active = found.length && input.value ? 0 : -1;
    draw();
    said.textContent = found.length ? t("class_found", { n: found.length }) : t("class_none");
  }

  function draw() {
    fill(list, found.length ? found.map((entry, i) => el("li", {
      id: `${id}-${i}`, role: "option", "aria-selected": String(i === active),
      onpointerdown: (event) => { event.preventDefault(); take(entry); },
    }, entry.label)) : el("li", { className: "quiet" }, t("class_none")));
    open(true);
    if (active >= 0) {
      input.setAttribute("aria-activedescendant", `${id}-${active}`);
      list.children[active].scrollIntoView({ block: "nearest" });
    } else input.removeAttribute("aria-activedescendant");
  }

  function open(yes) {
    list.hidden = !yes;
    input.setAttribute("aria-expanded", String(yes));
  }

  function take(entry) {
    asked++;
    clearTimeout(timer);
    input.value = entry.label;
    open(false);
    chosen(entry.label);
  }

  function chosen(label) {
    if (label === value) return;
    value = label;
    onchoose(label);
  }

  function leave() {
    open(false);
    chosen(input.value.trim()); // what is no class's name is said by the server, at this field
  }

  async function key(event) {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) return void search();
      const step = event.key === "ArrowDown" ? 1 : -1;
      active = (active + step + found.length) % (found.length || 1);
      draw();
    } else if (event.key === "Enter") {
      event.preventDefault(); // the choice runs by itself, or waits for the button
      if (stale) await search();
      if (document.activeElement !== input) return;
      if (!list.hidden && found[active]) take(found[active]);
      else leave();
    } else if (event.key === "Escape") open(false);
  }

  return { node: el("div", { className: "combobox" }, input, list, said), input };
}
