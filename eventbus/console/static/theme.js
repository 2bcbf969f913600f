// Loaded before anything is painted, so that a page in the reader's colours never flashes in the others.
"use strict";
(() => {
  let theme = null;
  try { theme = localStorage.getItem("eventbus-theme"); } catch { /* storage is forbidden: as the system */ }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
