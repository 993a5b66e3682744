// Light or dark: as kept, else as the system has it.
export type Theme = "light" | "dark";

const KEY = "laneway.theme";

export function currentTheme(): Theme {
  return document.documentElement.dataset["theme"] === "dark" ? "dark" : "light";
}

export function setTheme(theme: Theme) {
  localStorage.setItem(KEY, theme);
  document.documentElement.dataset["theme"] = theme;
}

export function startTheme() {
  const kept = localStorage.getItem(KEY);
  const isDark = kept === null ? matchMedia("(prefers-color-scheme: dark)").matches : kept === "dark";
  document.documentElement.dataset["theme"] = isDark ? "dark" : "light";
}
