"use strict";
(() => {
  const root = document.documentElement;
  const find = (selector, from = document) => Array.from(from.querySelectorAll(selector));
  const element = (id) => document.getElementById(id);
  const input = element("search");
  const status = element("found");
  const unfold = element("unfold");
  const theme = element("theme");
  const VISIBLE = 300; // so many matching rows are opened without being asked

  // Colours: as the system has them, until the button is pressed.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const nameTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; theme.ariaLabel = `${theme.textContent} colours`; };
  theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; nameTheme(); });
  dark.addEventListener("change", nameTheme);
  nameTheme();

  // Search: every row's text is taken once; a group's own title counts for all of its rows.
  let groups = null;
  const read = () => {
    groups = find("[data-group]").map((node) => {
      const summary = node.querySelector(":scope > summary");
      const found = summary && summary.querySelector(".found");
      return {
        node, found,
        title: summary && node.matches(".bundle") ? summary.textContent.toLowerCase() : "",
        section: node.closest("[data-section]"),
        rows: find("tbody > tr", node).map((row) => ({ node: row, text: row.textContent.toLowerCase() })),
        tables: find("table", node),
        open: null,
      };
    });
  };
  const fits = (text, words) => words.every((word) => text.includes(word));
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (!groups) {
      if (!words.length) return;
      read();
    }
    const searching = words.length > 0;
    const sections = new Map(find("[data-section]").map((section) => [section, 0]));
    let total = 0;
    let shown = 0;
    for (const group of groups) {
      const rest = words.filter((word) => !group.title.includes(word));
      let count = 0;
      for (const row of group.rows) {
        const hit = fits(row.text, rest);
        if (row.node.hidden === hit) row.node.hidden = !hit;
        if (hit) count += 1;
      }
      // A table without rows would still keep room for them.
      for (const table of group.tables) table.hidden = searching && !table.querySelector("tbody > tr:not([hidden])");
      const hit = !searching || count > 0 || (group.rows.length === 0 && rest.length === 0);
      if (group.node.hidden === hit) group.node.hidden = !hit;
      if (group.found) {
        group.found.hidden = !searching;
        group.found.textContent = searching ? `${count.toLocaleString("en")} of ${group.rows.length.toLocaleString("en")} match` : "";
      }
      if (group.node.localName === "details") {
        if (searching) {
          if (group.open === null) group.open = group.node.open;
          group.node.open = count > 0 && shown + count <= VISIBLE;
        } else if (group.open !== null) {
          group.node.open = group.open;
          group.open = null;
        }
      }
      if (!group.found || group.node.open) shown += count;
      total += count;
      sections.set(group.section, sections.get(group.section) + (hit && searching ? Math.max(count, 1) : 0));
    }
    root.classList.toggle("searching", searching);
    for (const heading of find("[data-section] > h3")) {
      let next = heading.nextElementSibling;
      while (next && next.localName !== "h3" && !next.matches("[data-group]:not([hidden])")) next = next.nextElementSibling;
      heading.hidden = searching && !(next && next.localName !== "h3");
    }
    for (const [section, count] of sections) section.hidden = searching && !count;
    element("nothing").hidden = !searching || [...sections.values()].some(Boolean);
    const where = [...sections.values()].filter(Boolean).length;
    status.textContent = searching
      ? `${total.toLocaleString("en")} ${total === 1 ? "row matches" : "rows match"} in ${where} ${where === 1 ? "section" : "sections"}`
      : "";
  };
  let waiting = 0;
  const later = () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(filter); };
  const search = (text) => { input.value = text; filter(); };
  input.addEventListener("input", later);
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLInputElement;
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      input.focus();
      input.select();
    } else if (event.key === "Escape" && input.value) {
      search("");
    }
  });

  // A link to a section has to find it, so it ends a search; a finding begins one.
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element && event.target.closest("a[href^='#']");
    if (!link) return;
    if (link.dataset.find) {
      event.preventDefault();
      search(link.dataset.find);
      scrollTo(0, element("tools").offsetTop);
      input.focus({ preventScroll: true });
    } else if (input.value) {
      search("");
    }
  });

  unfold.addEventListener("click", () => {
    const open = unfold.getAttribute("aria-pressed") !== "true";
    for (const node of find("main details")) if (!node.hidden) node.open = open;
    unfold.setAttribute("aria-pressed", String(open));
    unfold.textContent = open ? "Close all" : "Open all";
  });

  element("tools").hidden = false;
  if (input.value) filter();
})();
