"use strict";
(function () {
  const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));
  const one = (id) => document.getElementById(id);

  // Theme: automatic, light, dark.
  const themes = { auto: "Auto", light: "Light", dark: "Dark" };
  const button = one("theme");
  function showTheme() {
    const chosen = window.reportTheme.chosen;
    button.querySelector("span").textContent = themes[chosen];
    button.setAttribute("aria-label", "Theme: " + themes[chosen]);
    window.reportTheme.apply();
  }
  button.addEventListener("click", function () {
    const order = Object.keys(themes);
    window.reportTheme.chosen = order[(order.indexOf(window.reportTheme.chosen) + 1) % order.length];
    try { localStorage.setItem("theme", window.reportTheme.chosen); } catch (error) { /* not kept, still shown */ }
    showTheme();
  });
  showTheme();

  // Filters act on the claims; while one is set, sections that hold what is sought stand open.
  const text = one("filter-text"), toggles = all(".toggle");
  const claims = all("details.claim"), sections = all("details.claim-section");
  claims.forEach(function (claim) { claim.searchable = (claim.id + " " + claim.textContent).toLowerCase(); });
  let before = null;
  function filter() {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const verdicts = toggles.filter((t) => t.getAttribute("aria-pressed") === "true").map((t) => t.dataset.verdict);
    const filtered = words.length > 0 || verdicts.length > 0;
    let shown = 0;
    claims.forEach(function (claim) {
      const own = claim.dataset.verdicts.split(" ");
      claim.hidden = !(words.every((word) => claim.searchable.includes(word))
        && (!verdicts.length || verdicts.some((verdict) => own.includes(verdict))));
      shown += claim.hidden ? 0 : 1;
    });
    if (filtered && before === null) before = sections.map((section) => section.open);
    sections.forEach(function (section, index) {
      section.hidden = all(".claim", section).every((claim) => claim.hidden);
      if (filtered) section.open = !section.hidden;
      else if (before !== null) section.open = before[index];
    });
    if (!filtered) before = null;
    all(".about").forEach(function (heading) {
      let next = heading.nextElementSibling, empty = true;
      for (; next && next.matches(".claim-section"); next = next.nextElementSibling) empty = empty && next.hidden;
      heading.hidden = empty;
    });
    one("filter-count").textContent = (filtered ? shown + " of " : "") + claims.length + (claims.length === 1 ? " claim" : " claims");
    one("filter-clear").hidden = !filtered;
    one("filter-none").hidden = shown > 0 || claims.length === 0;
  }
  function clear() {
    text.value = "";
    toggles.forEach((toggle) => toggle.setAttribute("aria-pressed", "false"));
    filter();
  }
  text.addEventListener("input", filter);
  text.form.addEventListener("submit", (event) => event.preventDefault());
  toggles.forEach(function (toggle) {
    toggle.addEventListener("click", function () {
      toggle.setAttribute("aria-pressed", toggle.getAttribute("aria-pressed") === "true" ? "false" : "true");
      filter();
    });
  });
  one("filter-clear").addEventListener("click", function () { clear(); text.focus(); });
  all("[data-clear]").forEach((element) => element.addEventListener("click", function () { clear(); text.focus(); }));
  all("[data-show]").forEach(function (link) {
    link.addEventListener("click", function () {
      clear();
      toggles.forEach((toggle) => toggle.setAttribute("aria-pressed", String(toggle.dataset.verdict === link.dataset.show)));
      filter();
    });
  });
  filter();

  // A link opens whatever its target lies in, and un-filters it where it was filtered away.
  function openTarget() {
    const target = location.hash.length > 1 && one(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    if (target.closest("[hidden]")) clear();
    for (let part = target.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
    target.scrollIntoView();
  }
  window.addEventListener("hashchange", openTarget);
  document.addEventListener("click", function (event) {
    const link = event.target.closest('a[href^="#"]');
    if (link && link.getAttribute("href") === location.hash) openTarget();
  });
  openTarget();
  function openAll(open) { [...sections, ...claims].forEach((part) => { part.open = open; }); }
  one("open-all").addEventListener("click", () => openAll(true));
  one("close-all").addEventListener("click", () => openAll(false));
  // Printed is what is open.
  window.addEventListener("beforeprint", function () {
    all('details[open] img[loading="lazy"]').forEach((image) => { image.loading = "eager"; });
  });

  // Where in the page we are.
  const links = new Map(all(".bar-top a").map((link) => [link.getAttribute("href").slice(1), link]));
  if ("IntersectionObserver" in window) {
    const watch = new IntersectionObserver(function (entries) {
      entries.filter((entry) => entry.isIntersecting).forEach(function (entry) {
        links.forEach((link) => link.removeAttribute("aria-current"));
        const link = links.get(entry.target.id);
        if (link) link.setAttribute("aria-current", "true");
      });
    }, { rootMargin: "-15% 0px -75% 0px" });
    links.forEach((link, id) => { const part = one(id); if (part) watch.observe(part); });
  }

  // Galleries can be filtered by class, method and condition; without JavaScript all pictures are shown.
  all(".gallery-filters").forEach(function (form) {
    const selects = all("select", form), parts = all(".gallery-part", form.parentElement);
    const pictures = all(".gallery li", form.parentElement);
    function narrow() {
      pictures.forEach(function (item) {
        item.hidden = selects.some((select) => select.value && item.dataset[select.dataset.fact] !== select.value);
      });
      parts.forEach(function (part) { part.hidden = all(".gallery li", part).every((item) => item.hidden); });
      const shown = pictures.filter((item) => !item.hidden).length;
      form.querySelector(".shown").textContent = shown + " of " + pictures.length + " pictures";
    }
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", narrow);
    narrow();
  });

  // Pictures open in a viewer; without JavaScript their links still open the file.
  const box = one("lightbox"), image = one("lightbox-image"), caption = one("lightbox-caption");
  const previous = one("lightbox-previous"), next = one("lightbox-next");
  let shots = [], place = 0;
  function show(index) {
    place = index;
    const shot = shots[place], thumbnail = shot.querySelector("img");
    image.src = shot.getAttribute("href");
    image.alt = thumbnail ? thumbnail.alt : "";
    image.className = thumbnail ? thumbnail.className : "";
    caption.textContent = shot.dataset.caption || "";
    one("lightbox-place").textContent = shots.length > 1 ? place + 1 + " of " + shots.length : "";
    previous.hidden = next.hidden = shots.length < 2;
    previous.disabled = place === 0;
    next.disabled = place === shots.length - 1;
  }
  document.addEventListener("click", function (event) {
    const shot = event.target.closest("a.shot");
    if (!shot || event.metaKey || event.ctrlKey || event.shiftKey || !box.showModal) return;
    event.preventDefault();
    shots = all("a.shot").filter((other) => other.dataset.gallery === shot.dataset.gallery && !other.closest("[hidden]"));
    show(shots.indexOf(shot));
    box.showModal();
    one("lightbox-close").focus();
  });
  previous.addEventListener("click", () => { if (place > 0) show(place - 1); });
  next.addEventListener("click", () => { if (place < shots.length - 1) show(place + 1); });
  one("lightbox-close").addEventListener("click", () => box.close());
  box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
  box.addEventListener("keydown", function (event) {
    if (event.key === "ArrowLeft" && place > 0) show(place - 1);
    if (event.key === "ArrowRight" && place < shots.length - 1) show(place + 1);
  });
  box.addEventListener("close", () => { if (shots[place]) shots[place].focus(); });

  // Copying a command; where the browser forbids it the text is selected instead.
  all(".copy").forEach(function (copy) {
    copy.addEventListener("click", function () {
      const code = copy.parentElement.querySelector("code");
      const select = () => getSelection().selectAllChildren(code);
      if (!navigator.clipboard) { select(); return; }
      navigator.clipboard.writeText(copy.dataset.copy).then(function () {
        copy.textContent = "Copied";
        setTimeout(() => { copy.textContent = "Copy"; }, 1500);
      }, select);
    });
  });
})();
