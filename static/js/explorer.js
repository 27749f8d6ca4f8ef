// Comfort only: every page works without it.
(() => {
  const root = document.documentElement;
  root.classList.add("js");

  const rows = () => [...document.querySelectorAll("a.step, .threads .id a")].filter((row) => row.offsetParent);

  const move = (by) => {
    const all = rows();
    const at = all.findIndex((row) => row === document.activeElement || row.ariaCurrent === "true");
    const focused = all.indexOf(document.activeElement);
    const from = focused >= 0 ? focused : at;
    const to = all[Math.min(Math.max(from + by, 0), all.length - 1)];
    if (to) { to.focus(); to.scrollIntoView({ block: "nearest" }); }
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else {
      const target = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
      if (!target) return;
      event.preventDefault();
      if (target.matches("input")) { target.focus(); target.select(); } else target.click();
    }
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".copy");
    if (!button) return;
    const said = button.textContent;
    navigator.clipboard.writeText(button.dataset.copy).then(
      () => { button.textContent = "copied"; },
      () => { button.textContent = "not allowed"; },
    ).finally(() => setTimeout(() => { button.textContent = said; }, 1200));
  });

  // The selected step follows the inspector; the server marks it on a full page.
  const mark = () => {
    const shown = document.querySelector("#inspector [data-checkpoint]");
    for (const step of document.querySelectorAll("a.step")) {
      step.setAttribute("aria-current", String(step.title === shown?.dataset.checkpoint));
    }
  };

  // What was asked for last is shown, whatever answers last: the newest opens by itself.
  let asked;
  document.addEventListener("htmx:beforeRequest", ({ detail }) => {
    if (detail.target.id === "inspector") asked = detail.xhr;
  });
  document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    if (detail.target.id === "inspector" && detail.xhr !== asked) detail.shouldSwap = false;
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.target.id !== "inspector") return;
    mark();
    event.target.scrollTop = 0;
    if (getComputedStyle(document.querySelector("#timeline")).display === "none") scrollTo(0, 0);
  });

  // Text that was typed is not left by mistake.
  let sent = false;
  document.addEventListener("submit", () => { sent = true; });
  addEventListener("pageshow", () => { sent = false; });
  addEventListener("beforeunload", (event) => {
    const areas = [...document.querySelectorAll(".editor textarea")];
    const typed = document.querySelector("[data-typed]") // sent back by the server, and nowhere else yet
      || areas.some((area) => area.value !== area.defaultValue);
    if (!sent && typed) event.preventDefault();
  });

  // What runs shows for how long, between two reports too.
  setInterval(() => {
    for (const clock of document.querySelectorAll("[data-since]")) {
      const seconds = Math.max(0, Math.floor((Date.now() - Date.parse(clock.dataset.since)) / 1000));
      clock.textContent = seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
    }
  }, 1000);

  // Where the stream of a replay is cut off, as by a proxy, its page is asked for instead.
  let heard = Date.now();
  for (const name of ["htmx:sseMessage", "htmx:afterSwap"]) {
    document.addEventListener(name, () => { heard = Date.now(); });
  }
  setInterval(() => {
    const live = document.querySelector("[data-live]");
    if (!live || Date.now() - heard < 7000) return;
    heard = Date.now();
    htmx.trigger(live, "poll");
  }, 1000);

  document.addEventListener("DOMContentLoaded", () => {
    const wrong = document.querySelector("textarea[data-at]");
    if (wrong) {
      const at = [...wrong.value].slice(0, wrong.dataset.at).join("").length; // in UTF-16, as selections count
      wrong.focus();
      wrong.setSelectionRange(at, at + 1);
    }
    // A wide screen has room for the newest checkpoint beside its thread.
    const inspector = document.querySelector("#inspector[data-open]");
    if (inspector && matchMedia("(min-width: 861px)").matches) {
      htmx.ajax("GET", inspector.dataset.open, { target: inspector, swap: "innerHTML ignoreTitle:true" });
    }
    document.querySelector('a.step[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
  });
})();
