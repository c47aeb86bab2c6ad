// Which language the page speaks, and its sentences with their blanks filled.

import { english } from "./english.js";
import { chinese } from "./chinese.js";
import { techniques } from "./chinese_techniques.js";

const LANGUAGES = { en: english, zh: chinese };
// texts with numbers (#) and names (~) in them
const PATTERNS = Object.entries(techniques).filter(([text]) => /[#~]/.test(text)).map(([text, said]) => [
  new RegExp(`^${text.replace(/[.+()?]/g, "\\$&").replaceAll("#", "(-?\\d+(?:,\\d{3})*(?:\\.\\d+)?)").replaceAll("~", "(.+?)")}$`), said]);
let chosen = localStorage.getItem("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
if (!(chosen in LANGUAGES)) chosen = "en";

/** The text of this name: t("step", {done: 3, total: 9}); in English where a language lacks it. */
export function t(name, blanks = {}) {
  const text = LANGUAGES[chosen][name] ?? english[name] ?? name;
  return text.replace(/\{(\w+)\}/g, (_, key) => blanks[key] ?? "");
}

/** What the server says, in the language of the page: whole or, where only parts of it are known, part by part. */
export function told(text) {
  if (chosen === "en") return text;
  const parts = String(text).replace(/\s+/g, " ").split(/(; |: | \(|\)|\.$)/);
  const found = parts.map((part, i) => (i % 2 ? part : (inChinese(part) ?? part)));
  const marks = { "; ": "；", ": ": "：", " (": "（", ")": "）", ".": "。" };
  return inChinese(parts.join("")) ?? (found.join("") === parts.join("") ? text : found.map((part, i) => (i % 2 ? marks[part] : part)).join(""));
}

/** The Chinese of a text, or null; numbers and names in it keep their order. */
function inChinese(text) {
  if (Object.hasOwn(techniques, text)) return techniques[text];
  for (const [pattern, chinese] of PATTERNS) {
    const blanks = text.match(pattern)?.slice(1);
    if (blanks) return chinese.replace(/[#~]/g, () => blanks.shift());
  }
  return null;
}

/** Whether there is a text of this name. */
export const known = (name) => name in english;

/** Speak the other language from now on. */
export function switchLanguage() {
  chosen = chosen === "en" ? "zh" : "en";
  localStorage.setItem("language", chosen);
}

/** Put the texts into the parts of the page that are marked with data-t (text) or data-label (for screen readers). */
export function translate() {
  document.documentElement.lang = chosen === "zh" ? "zh-Hans" : "en";
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", t(node.dataset.label));
}

/** Seconds in words: "under a second", "12 s", "3 min". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "";
  if (seconds < 1) return t("instant");
  return seconds < 90 ? t("seconds", { n: Math.round(seconds) }) : t("minutes", { n: Math.round(seconds / 60) });
}
