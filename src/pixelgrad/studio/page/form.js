// A technique's form, made from its declared settings alone: kinds, limits, units, choices, help and roles.

import { classChooser } from "./class.js";
import { el, fill } from "./dom.js";
import { t, told } from "./words.js";

/** Fill `form` for `technique`. `values`: settings that are not the defaults, which the form keeps up to date.
 * options: {model, layers, onclass(label), onrun(), extra: further nodes}. Returns {error(field, words), valid()}. */
export function techniqueForm(form, technique, values, options) {
  const fields = new Map();
  const general = el("p", { className: "error", role: "alert", hidden: true });
  const first = technique.settings.filter((s) => s.role === "class" || s.role === "layer" || s.kind === "choice");
  const rest = technique.settings.filter((s) => !first.includes(s));
  const make = (setting) => {
    const made = field(setting, values, options);
    fields.set(setting.name, made);
    return made.node;
  };
  const shut = first.length > 0 && !rest.some((s) => s.name in values);
  fill(form,
    first.map(make),
    rest.length ? el("details", { open: !shut, className: "more" },
      el("summary", {}, t("more_settings", { n: rest.length })), rest.map(make)) : null,
    options.extra, general,
    el("button", { className: "run", type: "submit", disabled: technique.available !== true }, t("run")),
    technique.available === true ? null
      : el("p", { className: "error" }, t("unavailable", { why: told(technique.available) })));

  function error(name, words) {
    for (const known of fields.values()) known.say("");
    const known = fields.get(name);
    general.hidden = !words || Boolean(known);
    general.textContent = known ? "" : words;
    if (!known || !words) return;
    known.node.closest("details")?.setAttribute("open", "");
    known.say(words);
    known.input.focus({ preventScroll: false });
  }
  form.onsubmit = (event) => {
    event.preventDefault();
    if (valid()) options.onrun();
  };
  function valid() {
    error(null, "");
    for (const [name, known] of fields) {
      const words = known.check();
      if (words) return error(name, words), false;
    }
    return true;
  }
  return { error, valid };
}

function field(setting, values, options) {
  const id = `setting-${setting.name}`;
  const problem = el("p", { id: `${id}-error`, className: "error", role: "alert", hidden: true });
  const limits = range(setting);
  const facts = [setting.default === null || setting.kind === "bool" ? "" : t("default_is", { value: setting.default }), limits];
  const help = el("p", { id: `${id}-help`, className: "help" },
    [told(setting.help), facts.filter(Boolean).join(t("comma"))].filter(Boolean).join(" · "));
  const set = (value) => {
    if (value === "" || value === null || value === setting.default) delete values[setting.name];
    else values[setting.name] = value;
  };
  const { node, input } = control(setting, id, values[setting.name], set, options);
  input.id = id;
  input.setAttribute("aria-describedby", `${id}-help ${id}-error`);
  const label = el("label", { htmlFor: id }, name(setting));
  const whole = el("div", { className: `field ${setting.kind}`, "data-role": setting.role }, label, node, help, problem);
  return {
    node: whole, input,
    check: () => check(setting, input, limits),
    say(words) {
      problem.hidden = !words;
      problem.textContent = words;
      if (words) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    },
  };
}

/** What a setting is called; in another language also by its own name, which errors and the command line have. */
function name(setting) {
  if (setting.name === "target") return t("target");
  const [own, ours] = [setting.name.replaceAll("_", " "), told(setting.name)];
  return ours === setting.name ? own : [ours, " ", el("span", { className: "quiet" }, own)];
}

function control(setting, id, value, set, options) {
  if (setting.role === "class") {
    const none = t(options.free ? "class_default_free" : "class_default");
    return classChooser(options.model, value ?? "", none, (label) => { set(label); options.onclass(label); });
  }
  if (setting.kind === "choice") {
    const input = el("select", { onchange: () => set(input.value) },
      setting.default === null ? el("option", { value: "" }, "–") : null,
      setting.choices.map((c) => el("option", { value: c, selected: c === (value ?? setting.default) }, c)));
    return { node: input, input };
  }
  if (setting.kind === "bool") {
    const input = el("input", { type: "checkbox", checked: value ?? setting.default, onchange: () => set(input.checked) });
    return { node: input, input };
  }
  if (setting.kind === "int" || setting.kind === "float") {
    const input = el("input", {
      type: "text", inputMode: setting.kind === "int" ? "numeric" : "decimal", autocomplete: "off",
      value: String(value ?? setting.default ?? ""), placeholder: t(options.presets ? "from_preset" : "automatic"),
      oninput: () => set(input.value.trim() === "" ? null : number(input.value)),
    });
    const node = setting.unit ? el("span", { className: "with-unit" }, input, el("span", { className: "quiet" }, told(setting.unit))) : input;
    return { node, input };
  }
  const layers = setting.role === "layer" ? el("datalist", { id: `${id}-list` },
    (options.layers ?? []).map((layer) => el("option", { value: layer.name }, `${layer.kind} ${layer.shape.join("×")}`))) : null;
  const input = el("input", {
    type: "text", autocomplete: "off", spellcheck: false, placeholder: t("automatic"),
    value: Array.isArray(value) ? value.join(", ") : value ?? setting.default ?? "",
    oninput: () => set(several(setting, input.value.trim())),
  });
  if (layers) input.setAttribute("list", layers.id);
  return { node: layers ? el("span", {}, input, layers) : input, input };
}

/** Several layers, with commas between; other text is one value. */
function several(setting, text) {
  if (!setting.many || setting.role !== "layer" || !text.includes(",")) return text;
  return text.split(",").map((part) => part.trim()).filter(Boolean);
}

function number(text) {
  const value = Number(text.trim().replace("−", "-").replace(/^(-?\d+),(\d+)$/, "$1.$2"));
  return Number.isNaN(value) ? text : value;
}

function range({ lo, hi }) {
  if (lo !== null && hi !== null) return hi > 1e15 ? t("range_lo", { lo }) : t("range_both", { lo, hi });
  if (lo !== null) return t("range_lo", { lo });
  return hi !== null ? t("range_hi", { hi }) : "";
}

function check(setting, input, limits) {
  if (setting.kind !== "int" && setting.kind !== "float") return "";
  if (input.value.trim() === "") return "";
  const value = number(input.value);
  if (typeof value !== "number") return t("not_number");
  if (setting.kind === "int" && !Number.isInteger(value)) return t("not_whole");
  const out = (setting.lo !== null && value < setting.lo) || (setting.hi !== null && value > setting.hi);
  return out ? t("out_of_range", { range: limits }) : "";
}
