"use strict";
// No text of a listener is ever taken for markup: it is set as text.

const HOUR = 3600;
const DAYS = 30; // of an infant's timeline
const FLOOR_DBFS = -80; // of a meter and of a band
const WORDS = { connecting: "Connecting", listening: "Listening", stalled: "No sound", ended: "Ended" };
const $ = (id) => document.getElementById(id);
const view = { night: 0, sources: new Map(), events: new Map(), minutes: [], start: 0, stop: 0 };
const player = new Audio();
player.preload = "none";
let playing = "";

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

function draw(tag, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

const clock = (at) =>
  new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = (at) =>
  new Date(at * 1000).toLocaleDateString("en-GB", { weekday: "long", day: "numeric", month: "long" });
const seconds = () => Date.now() / 1000;
const percent = (share) => `${share < 0.995 ? Math.round(100 * share) : share < 0.9995 ? 99 : 100} %`;

function lasting(s) {
  if (s < 60) return `${Math.max(1, Math.round(s))} s`;
  const minutes = Math.round(s / 60);
  const rest = minutes % 60 ? ` ${minutes % 60} min` : "";
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h${rest}`;
}

async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  const answer = await fetch(path, options);
  if (answer.status === 401 && path !== "/api/login") {
    $("login").open || $("login").showModal();
    throw new Error("the token is needed");
  }
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error || said.detail || answer.statusText);
  return said;
}

// Sources now

function showSource(source) {
  const before = view.sources.get(source.name);
  view.sources.set(source.name, source);
  $("no-sources").hidden = true;
  let card = document.querySelector(`[data-source="${CSS.escape(source.name)}"]`);
  if (!card) {
    card = make("li", { className: "card" },
      make("div", { className: "name", textContent: source.name }),
      make("div", { className: "state" }),
      make("div", { className: "meter", role: "meter", "aria-label": `Level of ${source.name}`,
        "aria-valuemin": FLOOR_DBFS, "aria-valuemax": 0 }, make("div")),
      make("div", { className: "quiet numbers" }));
    card.dataset.source = source.name;
    const next = [...$("sources").children].find((c) => c.dataset.source > source.name);
    $("sources").insertBefore(card, next || null);
  }
  const crying = source.event !== "";
  const heard = source.level_dbfs !== null;
  card.classList.toggle("crying", crying);
  card.classList.toggle("away", !crying && source.state !== "listening");
  let state = WORDS[source.state] || source.state;
  if (crying) state = `Crying since ${clock(source.onset)} (${lasting(seconds() - source.onset)})`;
  else if (source.state !== "listening") {
    const reason = source.state === "stalled" ? "" : source.reason; // which says the same
    state += ` since ${clock(source.since)}${reason ? `: ${reason}` : ""}`;
  }
  card.querySelector(".state").textContent = state;
  const level = heard ? Math.max(FLOOR_DBFS, Math.min(0, source.level_dbfs)) : FLOOR_DBFS;
  const meter = card.querySelector(".meter");
  meter.setAttribute("aria-valuenow", Math.round(level));
  meter.setAttribute("aria-valuetext", heard ? `${Math.round(level)} decibels` : "no sound");
  meter.firstChild.style.width = `${100 * (1 - level / FLOOR_DBFS)}%`;
  card.querySelector(".numbers").textContent =
    heard ? `${Math.round(source.level_dbfs)} dBFS; a cry: ${percent(source.cry)}` : "no sound";
  if (before && before.event !== source.event) {
    tell(crying ? `${source.name}: crying` : `${source.name}: the crying has ended`);
  }
  if (before && before.state !== source.state) tell(`${source.name}: ${state}`);
  const any = [...view.sources.values()].some((s) => s.event !== "");
  document.title = any ? "● crying: crywatch" : "crywatch";
}

function tell(text) {
  $("news").textContent = text;
}

// A night: from noon to noon; in the afternoon the last one goes on

function window_of(night) {
  const now = new Date();
  const start = new Date(now);
  start.setHours(12, 0, 0, 0);
  if (now.getHours() < 18) start.setDate(start.getDate() - 1);
  start.setDate(start.getDate() - night);
  const stop = new Date(start);
  stop.setDate(stop.getDate() + 1);
  return [start / 1000, night ? stop / 1000 : Math.max(stop / 1000, seconds() + HOUR)];
}

async function showNight() {
  [view.start, view.stop] = window_of(view.night);
  const { start, stop } = view;
  const night = await ask(`/api/night?start=${start}&stop=${stop}`);
  if (start !== view.start) return; // another one was asked for since
  view.minutes = night.minutes;
  view.events = new Map(night.events.map((event) => [event.id, event]));
  const hour = new Date().getHours();
  const tonight = hour >= 18 || hour < 6;
  $("night-title").textContent =
    view.night ? "Night" : tonight ? "Tonight" : "Last night";
  $("night-dates").textContent = `${day(start)} to ${day(start + 24 * HOUR)}`;
  $("later").disabled = view.night === 0;
  showEvents();
}

const ends = (event) => event.end ?? seconds();
const newest = () => [...view.events.values()].sort((a, b) => b.onset - a.onset);

function showEvents() {
  showBands();
  const list = $("events");
  const focus = document.activeElement && document.activeElement.dataset.key;
  list.replaceChildren(...newest().map(eventRow));
  if (focus) list.querySelector(`[data-key="${CSS.escape(focus)}"]`)?.focus();
  $("no-events").hidden = view.events.size > 0;
}

function eventRow(event) {
  const time = event.end === null ? `since ${clock(event.onset)}` : `${clock(event.onset)} to ${clock(event.end)}`;
  const about = [lasting(ends(event) - event.onset), `${percent(event.peak)} sure`];
  if (view.sources.size > 1 || !view.sources.has(event.source)) about.unshift(event.source);
  const row = make("li", { className: "event", id: `event-${event.id}` },
    make("div", {},
      make("div", { className: "time", textContent: time }),
      make("div", { className: "about", textContent: about.join(", ") })));
  row.classList.toggle("false", event.label === "other");
  row.classList.toggle("going", event.end === null);
  if (event.score) row.firstChild.append(verdict(event.score));
  const acts = make("div", { className: "acts" });
  if (event.clip) {
    const stops = playing === event.id;
    acts.append(act(event, "play", stops ? "Stop" : "Play", () => play(event)));
  }
  acts.append(mark(event, "cry", "Cry"), mark(event, "other", "False alarm"));
  row.append(acts);
  return row;
}

function act(event, name, text, onclick) {
  const button = make("button", { type: "button", textContent: text, onclick,
    "aria-label": `${text}: ${clock(event.onset)}, ${event.source}` });
  button.dataset.key = `${name} ${event.id}`;
  return button;
}

function mark(event, label, text) {
  const button = act(event, label, text, () =>
    attempt(async () => {
      const next = event.label === label ? "unknown" : label;
      take(await ask("/api/label", { event: event.id, label: next }));
    }));
  button.setAttribute("aria-pressed", event.label === label);
  return button;
}

function often(score) {
  return `about ${Math.max(1, Math.round(100 * score.p))} in 100`;
}

function verdict(score) {
  const name = score.infant;
  let text = `No cry in it could be compared with ${name}'s.`;
  if (score.p !== null && score.unusual) {
    text = `Unusual for ${name}: only ${often(score)} of ${name}'s own earlier cries differ so much.`;
  } else if (score.p !== null) {
    text = `Not unusual for ${name}: ${often(score)} of ${name}'s own earlier cries differ so much.`;
  }
  const row = make("div", { className: "about verdict", textContent: text });
  row.classList.toggle("unusual", score.unusual);
  return row;
}

function take(event) {
  if (event.onset < view.stop && ends(event) >= view.start) view.events.set(event.id, event);
  showEvents();
  if (event.score) showInfant(event.score.infant);
}

function play(event) {
  const same = playing === event.id;
  player.pause();
  playing = same ? "" : event.id;
  if (!same) {
    player.src = `/api/clip?id=${encodeURIComponent(event.id)}`;
    attempt(() => player.play());
  }
  showEvents();
}

player.onended = player.onerror = () => {
  if (player.error && playing) $("trouble").textContent = "The clip cannot be played.";
  playing = "";
  showEvents();
};

async function attempt(action) {
  $("trouble").textContent = "";
  try {
    await action();
  } catch (error) {
    if (error.name !== "AbortError") $("trouble").textContent = `That did not work: ${error.message}`;
  }
}

// Bands

function showBands() {
  const names = new Set([...view.sources.keys(), ...view.minutes.map((m) => m.source),
    ...[...view.events.values()].map((e) => e.source)]);
  $("bands").replaceChildren(...[...names].sort().map(band));
}

function extent() {
  // The night, and what was heard beside it, in whole hours.
  const times = [view.start + 7 * HOUR, view.start + 20 * HOUR, ...view.minutes.map((m) => m.start),
    ...[...view.events.values()].flatMap((e) => [e.onset, ends(e)])];
  if (view.night === 0) times.push(Math.min(seconds(), view.stop));
  const low = Math.min(...times), high = Math.max(...times);
  return [Math.max(view.start, Math.floor(low / HOUR) * HOUR), Math.min(view.stop, Math.ceil(high / HOUR) * HOUR)];
}

function band(name) {
  const [start, stop] = extent();
  const width = Math.max(320, $("bands").clientWidth), height = 84, top = 8, foot = 62;
  const x = (at) => (Math.max(start, Math.min(stop, at)) - start) / (stop - start) * width;
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": true }); // its words are read
  const minutes = view.minutes.filter((m) => m.source === name);
  const events = [...view.events.values()].filter((e) => e.source === name);
  svg.append(draw("rect", { class: "deaf", x: 0, y: top, width, height: foot - top }));
  const one = Math.max(1, x(start + 60)) + 0.3;
  for (const minute of minutes) {
    const level = Math.max(0.04, 1 - Math.max(FLOOR_DBFS, Math.min(0, minute.level_dbfs)) / FLOOR_DBFS);
    const high = level * (foot - top);
    svg.append(draw("rect", { class: "level", x: x(minute.start), y: foot - high, width: one, height: high }));
  }
  const step = [1, 2, 3, 6].find((hours) => width / ((stop - start) / HOUR / hours) >= 44) || 6;
  for (let at = start; at <= stop; at += HOUR) {
    const hour = new Date(at * 1000).getHours();
    if (hour % step) continue;
    svg.append(draw("line", { class: "hour", x1: x(at), x2: x(at), y1: top, y2: foot + 4 }));
    const place = x(at) < 20 ? "start" : x(at) > width - 20 ? "end" : "middle";
    svg.append(draw("text", { x: x(at), y: height - 5, "text-anchor": place }, clock(at)));
  }
  for (const event of events) {
    const wide = Math.max(3, x(ends(event)) - x(event.onset));
    const mark = draw("rect", { class: event.label === "other" ? "false" : "cry", rx: 1,
      x: Math.min(x(event.onset), width - wide), y: top, width: wide, height: foot - top });
    mark.append(draw("title", {}, `${clock(event.onset)}, ${lasting(ends(event) - event.onset)}`));
    mark.addEventListener("click", () => goTo(event));
    svg.append(mark);
  }
  const now = seconds();
  if (now > start && now < stop) svg.append(draw("line", { class: "now", x1: x(now), x2: x(now), y1: top, y2: foot }));
  const said = make("figcaption", {}, make("b", { textContent: name }), ` ${summary(minutes, events)}`);
  return make("figure", {}, said, svg);
}

function summary(minutes, events) {
  const cries = events.filter((e) => e.label !== "other").sort((a, b) => a.onset - b.onset);
  const alarms = events.length - cries.length;
  const heard = minutes.reduce((sum, minute) => sum + minute.seconds, 0);
  const total = cries.reduce((sum, event) => sum + ends(event) - event.onset, 0);
  let said = "no crying";
  if (cries.length === 1) said = `cried once, ${lasting(total)}, at ${clock(cries[0].onset)}`;
  if (cries.length > 1) {
    said = `cried ${cries.length} times, ${lasting(total)} in all, from ${clock(cries[0].onset)} to ${clock(ends(cries.at(-1)))}`;
  }
  if (alarms) said += `; ${alarms} false alarm${alarms > 1 ? "s" : ""}`;
  return `${said}; ${heard ? `heard for ${lasting(heard)}` : "nothing was heard"}`;
}

function goTo(event) {
  const row = $(`event-${event.id}`);
  row.scrollIntoView({ block: "center" });
  row.classList.add("shown");
  row.querySelector("button").focus({ preventScroll: true });
}

// Infants

async function showInfant(name) {
  const start = seconds() - DAYS * 24 * HOUR;
  const { events } = await ask(`/api/infant?id=${encodeURIComponent(name)}&start=${start}`);
  const unusual = events.filter((e) => e.score.unusual);
  const said = events.length
    ? `In ${DAYS} days ${events.length} events were compared with ${name}'s own earlier cries: ${unusual.length} unusual.`
    : `In ${DAYS} days no event could be compared with ${name}'s own earlier cries.`;
  const width = Math.max(320, $("infants").clientWidth), height = 120, top = 12, foot = 92;
  const x = (at) => 64 + (at - start) / (DAYS * 24 * HOUR) * (width - 72);
  const y = (p) => foot - Math.min(2, -Math.log10(Math.max(p, 0.01))) / 2 * (foot - top);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": true });
  svg.append(draw("text", { x: 8, y: top + 4 }, "unusual"), draw("text", { x: 8, y: foot }, "usual"));
  for (let back = 28; back >= 0; back -= 7) {
    const at = seconds() - back * 24 * HOUR;
    const text = back ? `${back} days ago` : "now";
    svg.append(draw("line", { class: "hour", x1: x(at), x2: x(at), y1: top, y2: foot + 6 }));
    svg.append(draw("text", { x: x(at), y: height - 8, "text-anchor": back > 27 ? "start" : back ? "middle" : "end" },
      width < 600 && back % 14 ? "" : text));
  }
  for (const event of events) {
    const dot = draw("circle", { class: event.score.unusual ? "unusual" : "usual", cx: x(event.onset), cy: y(event.score.p), r: 4 });
    dot.append(draw("title", {}, `${day(event.onset)}, ${clock(event.onset)}: p = ${event.score.p.toFixed(3)}`));
    svg.append(dot);
  }
  const section = make("section", { "aria-label": name }, make("h2", { textContent: name }),
    make("p", { textContent: said }), make("figure", {}, svg));
  if (unusual.length) {
    section.append(make("p", { textContent: "The latest unusual ones, and how many of the usual ones differ so much:" }),
      make("ul", {}, ...unusual.slice(-5).reverse().map((event) => make("li", {
        textContent: `${day(event.onset)}, ${clock(event.onset)}: ${often(event.score)}` }))));
  }
  section.append(make("p", { className: "quiet", textContent:
    "Unusual means: other than this infant's own earlier cries. It is no diagnosis and says nothing of health. Some usual cries come out unusual by chance." }));
  section.dataset.infant = name;
  const old = document.querySelector(`[data-infant="${CSS.escape(name)}"]`);
  if (old) old.replaceWith(section);
  else $("infants").append(section);
}

// Begin, and begin again where the connection was lost

async function refresh() {
  const now = await ask("/api/now");
  now.sources.forEach(showSource);
  $("no-sources").hidden = now.sources.length > 0;
  $("keeping").textContent = now.clips
    ? "Sound around events is kept on the listener's own disk; false alarms that are marked here are learnt from by the next training."
    : "No sound is kept. Events and levels are, on the listener's own disk.";
  await showNight();
  for (const name of now.infants) await showInfant(name);
}

function follow() {
  const live = new EventSource("/api/live");
  live.addEventListener("hello", () => {
    $("connection").textContent = "live";
    $("connection").className = "";
    attempt(refresh);
  });
  live.addEventListener("source", (message) => showSource(JSON.parse(message.data)));
  live.addEventListener("event", (message) => take(JSON.parse(message.data)));
  live.onerror = () => {
    $("connection").textContent = "not connected, trying again";
    $("connection").className = "lost";
    for (const card of $("sources").children) card.classList.add("away");
    if (live.readyState === EventSource.CLOSED) {
      ask("/api/now").then(() => setTimeout(follow, 2000), () => $("login").open || setTimeout(follow, 5000));
    }
  };
}

$("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("login-trouble").textContent = "";
  try {
    await ask("/api/login", { token: $("token").value });
    $("token").value = "";
    $("login").close();
    follow();
  } catch (error) {
    $("login-trouble").textContent = error.message;
    $("token").select();
  }
});
$("login").addEventListener("cancel", (event) => event.preventDefault());
$("earlier").addEventListener("click", () => { view.night += 1; attempt(showNight); });
$("later").addEventListener("click", () => { view.night -= 1; attempt(showNight); });
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (width === window.innerWidth) return;
  width = window.innerWidth;
  showBands();
  document.querySelectorAll("[data-infant]").forEach((section) => attempt(() => showInfant(section.dataset.infant)));
});
setInterval(() => { if (view.night === 0 && !playing) attempt(showNight); }, 60_000);
follow();
