// The form of the sheet of several methods: which ones, and for which class.

import { classChooser } from "./class.js";
import { el, fill } from "./dom.js";
import { aims, of, state } from "./state.js";
import { t, told } from "./words.js";

let picked = null; // names of the methods; at first all that can be measured, and so compared

/** Show the form; `onrun()` when the class was changed or the button pressed. Returns {error(field, words)}. */
export function compareForm(form, onrun) {
  const methods = of("show").filter((one) => aims(one) && one.available === true);
  picked ??= new Set(methods.filter((one) => one.measurable).map((one) => one.name));
  const problem = el("p", { className: "error", role: "alert", hidden: true });
  const chooser = classChooser(state.model, state.targets.show ?? "", t("class_default"), (label) => {
    state.targets.show = label;
    onrun();
  });
  chooser.input.id = "compare-class";
  chooser.input.setAttribute("aria-describedby", "compare-error");
  problem.id = "compare-error";
  fill(form,
    el("div", { className: "field" }, el("label", { htmlFor: "compare-class" }, t("target")), chooser.node),
    el("fieldset", {}, el("legend", {}, t("compare_pick")), methods.map((one) => el("label", { className: "check", title: told(one.summary) },
      el("input", { type: "checkbox", checked: picked.has(one.name), onchange: (event) => (event.target.checked ? picked.add(one.name) : picked.delete(one.name)) }),
      el("span", {}, told(one.title))))),
    problem, el("button", { className: "run", type: "submit" }, t("run")));
  const error = (field, words) => {
    problem.hidden = !words;
    problem.textContent = words;
    if (words && field === "target") {
      chooser.input.setAttribute("aria-invalid", "true");
      chooser.input.focus();
    } else chooser.input.removeAttribute("aria-invalid");
  };
  form.onsubmit = (event) => {
    event.preventDefault();
    if (picked.size) onrun();
    else error(null, t("compare_none"));
  };
  return { error };
}

/** Take over the methods of a restored sheet. */
export function pick(names) {
  picked = new Set(names);
}

/** What is asked of the server. */
export function compareRequest() {
  const settings = state.targets.show ? { target: state.targets.show } : {};
  const names = of("show").filter((one) => picked.has(one.name)).map((one) => one.name);
  return { compare: names, settings, model: state.model, pictures: [state.picture.id], trust: false };
}
