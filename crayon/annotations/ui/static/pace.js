// Measures how long a screen is shown, and how many answers the annotator gives a minute.

const RECENT = 60; // number of last answers whose mean time gives the pace
const PAUSE = 60_000; // milliseconds; a longer time for one answer counts as a pause

const times = new Map(); // screen -> milliseconds shown so far
let current = null;
let since = null;
const recent = [];

const running = () => since !== null;

function stop() {
  if (running()) times.set(current, (times.get(current) ?? 0) + performance.now() - since);
  since = null;
}

export function show(screen) {
  stop();
  current = screen;
  since = document.hidden ? null : performance.now();
}

export function hide() {
  stop();
  current = null;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) stop();
  else if (current !== null && !running()) since = performance.now();
});

export function seconds(screen) {
  const now = running() && current === screen ? performance.now() - since : 0;
  return ((times.get(screen) ?? 0) + now) / 1000;
}

// `count` answers took so many seconds together.
export function answered(took, count) {
  for (let n = 0; n < count; n++) recent.push(Math.min((took * 1000) / count, PAUSE));
  recent.splice(0, recent.length - RECENT);
}

// Answers a minute; null while there are too few.
export function perMinute() {
  if (recent.length < 3) return null;
  const whole = recent.reduce((sum, one) => sum + one, 0);
  return (60_000 * recent.length) / Math.max(whole, 1);
}

export function left(items) {
  const rate = perMinute();
  if (rate === null) return null;
  const minutes = items / rate;
  if (minutes < 1) return "under 1 min left";
  if (minutes < 90) return `${Math.round(minutes)} min left`;
  return `${(minutes / 60).toFixed(1)} h left`;
}
