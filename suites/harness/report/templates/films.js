"use strict";
(function () {
  const one = (id) => document.getElementById(id);
  const data = JSON.parse(one("data").textContent);
  const conditions = data.conditions, UNDEFINED = 254, NOT_ASKED = 255, PAGE = 100;
  const words = (name) => name.replaceAll("_", " ");
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  // A confidence is kept in steps: the last one holds all that is nearer to 1 than to the step before it.
  function percent(step) {
    const share = 100 * step / data.steps;
    return step === data.steps ? ">" + (100 - 50 / data.steps).toFixed(2) + " %" : share.toFixed(share > 99 ? 1 : 0) + " %";
  }
  data.subjects.forEach(function (subject) {
    subject.calls = bytes(subject.calls);
    subject.confidence = bytes(subject.confidence);
  });
  window.reportTheme.apply();

  let subject = data.subjects[0], rows = [], shown = PAGE, sort = { key: "changed", down: true };
  const cell = (film, condition) => film * conditions.length + condition;
  const isWrong = (film, condition) => subject.truth[film] >= 0 && subject.calls[cell(film, condition)] < UNDEFINED
    && subject.calls[cell(film, condition)] !== subject.truth[film];
  const isChanged = (film, condition) => subject.calls[cell(film, condition)] < UNDEFINED
    && subject.calls[cell(film, 0)] < UNDEFINED && subject.calls[cell(film, condition)] !== subject.calls[cell(film, 0)];

  // One entry per film of the chosen subject: what the list shows and is sorted by.
  function measure() {
    rows = data.films.map(function (film, at) {
      let changed = 0, asked = 0, surest = -1, worst = -1, lost = false;
      for (let place = 0; place < conditions.length; place += 1) {
        const call = subject.calls[cell(at, place)];
        if (call >= UNDEFINED) continue;
        if (place) { asked += 1; changed += isChanged(at, place) ? 1 : 0; }
        if (isWrong(at, place)) {
          if (!isWrong(at, 0)) lost = true;
          if (subject.confidence[cell(at, place)] > surest) { surest = subject.confidence[cell(at, place)]; worst = place; }
        }
      }
      const call = subject.calls[cell(at, 0)];
      return {
        at: at, id: film[0], truth: words(film[1]) || "not known", patient: film[2], cohort: film[3], changed: changed,
        asked: asked, surest: surest, worst: worst, lost: lost, wrong: isWrong(at, 0), pictured: String(at) in data.pictures,
        call: call < UNDEFINED ? words(subject.classes[call]) : "undefined",
        confidence: call < UNDEFINED ? subject.confidence[cell(at, 0)] : -1,
      };
    });
    rows.forEach(function (row) { row.searchable = [row.id, row.truth, row.patient, row.cohort, row.call].join(" ").toLowerCase(); });
  }

  function add(parent, tag, text, kind) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    parent.appendChild(made);
    return made;
  }

  // An id is one film of its cohort; a probe may hold the same.
  const several = new Set(data.films.map((film) => film[3])).size > 1;
  function address(row) {
    return "#film=" + encodeURIComponent(row.id) + (several ? "&cohort=" + encodeURIComponent(row.cohort) : "") + (data.subjects.length > 1 ? "&subject=" + encodeURIComponent(subject.name) : "");
  }

  function selected() {
    const asked = one("text").value.toLowerCase().split(/\s+/).filter(Boolean);
    const which = one("which").value, condition = one("condition").value === "" ? -1 : Number(one("condition").value);
    const kept = rows.filter(function (row) {
      if (!asked.every((word) => row.searchable.includes(word))) return false;
      if (condition >= 0 && subject.calls[cell(row.at, condition)] === NOT_ASKED) return false;
      if (which === "wrong") return condition >= 0 ? isWrong(row.at, condition) : row.wrong;
      if (which === "lost") return condition >= 0 ? !row.wrong && isWrong(row.at, condition) : row.lost;
      if (which === "changed") return condition >= 0 ? isChanged(row.at, condition) : row.changed > 0;
      return which !== "pictured" || row.pictured;
    });
    const way = sort.down ? -1 : 1;
    return kept.sort(function (a, b) {
      const x = a[sort.key], y = b[sort.key];
      return (x < y ? -way : x > y ? way : 0) || a.at - b.at;
    });
  }

  function list() {
    const kept = selected(), body = one("rows");
    body.textContent = "";
    kept.slice(0, shown).forEach(function (row) {
      const line = add(body, "tr"), head = add(line, "th");
      head.scope = "row";
      const link = add(head, "a", row.id);
      link.href = address(row);
      if (row.pictured) add(head, "span", "pictures", "flag");
      add(line, "td", row.truth);
      add(line, "td", row.call + (row.wrong ? " (wrong)" : ""), row.wrong ? "off" : "");
      add(line, "td", row.confidence < 0 ? "" : percent(row.confidence), "number");
      add(line, "td", row.asked ? row.changed + " of " + row.asked : "", "number");
      add(line, "td", row.worst < 0 ? "" : words(subject.classes[subject.calls[cell(row.at, row.worst)]]) + " "
        + percent(row.surest) + ", " + conditions[row.worst].words);
    });
    one("count").textContent = kept.length + " of " + rows.length + " films";
    one("more").hidden = kept.length <= shown;
    document.querySelectorAll(".sort").forEach(function (button) {
      const here = button.dataset.key === sort.key;
      button.parentElement.setAttribute("aria-sort", here ? (sort.down ? "descending" : "ascending") : "none");
    });
  }

  // The film that the address names.
  function open() {
    const named = new URLSearchParams(location.hash.slice(1)), wanted = named.get("film");
    const other = data.subjects.find((entry) => entry.name === named.get("subject"));
    if (other && other !== subject) {
      subject = other;
      if (one("subject")) one("subject").value = String(data.subjects.indexOf(other));
      measure();
      list();
    }
    const row = rows.find((entry) => entry.id === wanted && (!named.has("cohort") || entry.cohort === named.get("cohort"))), part = one("film");
    part.hidden = !row;
    if (!row) return;
    one("film-title").textContent = row.id;
    one("film-about").textContent = "Truth: " + row.truth + ". " + subject.name + " calls it " + row.call
      + (row.confidence < 0 ? "" : " (" + percent(row.confidence) + ")") + (row.wrong ? ", which is wrong" : "")
      + (row.asked ? "; " + row.changed + " of " + row.asked + " conditions change that" : "") + ". Patient " + row.patient + ", " + row.cohort + ".";
    const body = one("film-rows");
    body.textContent = "";
    conditions.forEach(function (condition, place) {
      const call = subject.calls[cell(row.at, place)];
      if (call === NOT_ASKED) return;
      const line = add(body, "tr"), head = add(line, "th", condition.words);
      head.scope = "row";
      add(line, "td", condition.units);
      const told = call === UNDEFINED ? "undefined for this film" : words(subject.classes[call])
        + (isWrong(row.at, place) ? " (wrong)" : "") + (isChanged(row.at, place) ? ", changed" : "");
      add(line, "td", told, call < UNDEFINED && isWrong(row.at, place) ? "off" : "");
      add(line, "td", call < UNDEFINED ? percent(subject.confidence[cell(row.at, place)]) : "", "number");
    });
    view(row);
    part.scrollIntoView();
    one("film-title").focus({ preventScroll: true });
  }

  function view(row) {
    const series = data.pictures[String(row.at)], group = one("group"), severity = one("severity");
    one("viewer").hidden = !series;
    if (!series) return;
    group.textContent = "";
    series.forEach(function (entry, at) { add(group, "option", entry.name).value = String(at); });
    function picture() {
      const shots = series[Number(group.value)].shots, shot = shots[Math.min(Number(severity.value), shots.length - 1)];
      severity.max = String(shots.length - 1);
      const text = shot.severity ? series[Number(group.value)].group + "@" + shot.severity : "clean";
      const place = conditions.findIndex((entry) => entry.text === text), call = subject.calls[cell(row.at, place)];
      const said = call < UNDEFINED ? words(subject.classes[call]) + " " + percent(subject.confidence[cell(row.at, place)]) : "undefined";
      const told = (shot.severity ? "severity " + shot.severity : "clean") + ": called " + said;
      one("severity-told").textContent = told;
      severity.setAttribute("aria-valuetext", told);
      const image = one("picture");
      image.src = shot.file;
      image.width = shot.width;
      image.height = shot.height;
      image.alt = row.id + ", " + told;
    }
    severity.value = "0";
    group.onchange = function () { severity.value = "0"; picture(); };
    severity.oninput = picture;
    picture();
  }

  conditions.forEach(function (condition, place) { if (place) add(one("condition"), "option", condition.words).value = String(place); });
  ["text", "which", "condition"].forEach(function (id) { one(id).addEventListener("input", function () { shown = PAGE; list(); }); });
  if (one("subject")) one("subject").addEventListener("input", function () {
    subject = data.subjects[Number(one("subject").value)];
    measure();
    list();
    open();
  });
  one("filters").addEventListener("submit", (event) => event.preventDefault());
  one("more").addEventListener("click", function () { shown += PAGE; list(); });
  document.querySelectorAll(".sort").forEach(function (button) {
    button.addEventListener("click", function () {
      const text = ["id", "truth", "call"].includes(button.dataset.key);
      sort = { key: button.dataset.key, down: sort.key === button.dataset.key ? !sort.down : !text };
      list();
    });
  });
  window.addEventListener("hashchange", open);
  measure();
  list();
  open();
})();
