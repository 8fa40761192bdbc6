"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const index = document.getElementById("index");
  const sections = [...document.querySelectorAll("section.infant")];
  const options = { responsive: true, displayModeBar: false };
  const touch = window.matchMedia("(pointer: coarse)").matches;

  function draw(section) {
    if (section.dataset.drawn) return;
    section.dataset.drawn = "yes";
    const figures = JSON.parse(section.querySelector("script.figures").textContent);
    for (const name of ["time", "sessions"]) {
      const place = section.querySelector(`.chart[data-figure="${name}"]`);
      if (!place) continue; // an infant of whom nothing can be drawn
      const layout = figures[name].layout;
      if (touch) layout.dragmode = false; // a finger scrolls the page
      Plotly.newPlot(place, figures[name].data, layout, options);
      if (name === "time") place.on("plotly_click", (event) => select(section, event.points[0]));
    }
  }

  // What is known of a recording that is clicked on, with its picture where the page holds one.
  function select(section, point) {
    if (point.customdata === undefined || !point.hovertext) return;
    const panel = section.querySelector(".selected");
    const text = document.createElement("p");
    text.innerHTML = point.hovertext; // escaped where it was made
    panel.replaceChildren(text);
    const kept = section.querySelector(`img[data-row="${point.customdata}"]`);
    if (kept) {
      const picture = kept.cloneNode();
      picture.removeAttribute("data-row");
      panel.append(picture);
    } else {
      const none = document.createElement("p");
      none.className = "note";
      none.textContent = "The page holds no picture of this recording.";
      panel.append(none);
    }
  }

  function show() {
    let wanted = location.hash.slice(1);
    try {
      wanted = decodeURIComponent(wanted);
    } catch {
      wanted = "";
    }
    const chosen = sections.find((section) => section.dataset.infant === wanted);
    index.hidden = Boolean(chosen);
    for (const section of sections) section.hidden = section !== chosen;
    if (chosen) draw(chosen);
    window.scrollTo(0, 0);
  }

  window.addEventListener("hashchange", show);
  if (sections.length === 1 && !location.hash) location.replace(sections[0].dataset.address);
  show();
})();
