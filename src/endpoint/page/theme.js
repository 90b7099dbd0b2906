// Light or dark: by the system's setting, or as chosen here. Not a module, so that it runs before the first paint.
"use strict";
{
  const THEMES = ["auto", "light", "dark"];
  const root = document.documentElement;

  const stored = () => {
    try {
      return localStorage.getItem("fanfare.theme");
    } catch {
      return null; // storage is switched off
    }
  };

  const apply = (theme) => {
    root.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) button.lastElementChild.textContent = `Theme: ${theme}`;
    if (button) button.title = `Theme: ${theme}`;
  };

  apply(THEMES.includes(stored()) ? stored() : "auto");
  document.addEventListener("DOMContentLoaded", () => {
    apply(root.dataset.theme);
    document.getElementById("theme").addEventListener("click", () => {
      const next = THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length];
      apply(next);
      try {
        localStorage.setItem("fanfare.theme", next);
      } catch {
        // Then it is for this visit only.
      }
    });
  });
}
