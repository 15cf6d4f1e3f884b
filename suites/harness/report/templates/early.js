// Before the first paint, so that a page set to dark never flashes white. Automatic needs no script.
(function () {
  let chosen = null;
  try { chosen = localStorage.getItem("theme"); } catch (error) { /* private windows have no storage */ }
  window.reportTheme = {
    chosen: chosen === "light" || chosen === "dark" ? chosen : "auto",
    apply: function () {
      if (this.chosen === "auto") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = this.chosen;
    },
  };
  window.reportTheme.apply();
})();
