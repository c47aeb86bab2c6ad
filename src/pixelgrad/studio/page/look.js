// Dark or light, and which language: two buttons, remembered.

import { $ } from "./dom.js";
import { switchLanguage, t } from "./words.js";

const dark = matchMedia("(prefers-color-scheme: dark)");

/** Set up the two buttons; `onlanguage()` after the other language was chosen. */
export function look(onlanguage) {
  const theme = localStorage.getItem("theme");
  if (theme) document.documentElement.dataset.theme = theme;
  const label = () => {
    $("theme").textContent = t(isDark() ? "theme_light" : "theme_dark");
    $("theme").setAttribute("aria-label", `${$("theme").textContent}: ${t("theme_label")}`);
    $("language").textContent = t("other_language");
    $("language").title = t("other_language_label");
  };
  $("theme").onclick = () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    localStorage.setItem("theme", document.documentElement.dataset.theme);
    label();
    document.dispatchEvent(new Event("themechange"));
  };
  $("language").onclick = () => {
    switchLanguage();
    label();
    onlanguage();
  };
  dark.addEventListener("change", label);
  label();
}

function isDark() {
  const theme = document.documentElement.dataset.theme;
  return theme ? theme === "dark" : dark.matches;
}
