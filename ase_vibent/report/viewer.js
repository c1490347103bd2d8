"use strict";
// Spheres on a plain canvas, the far ones first: no library, no graphics processor, prints as seen.
const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};
const number = (x) => (x === null ? "unknown" : Number(x.toPrecision(4)).toString());
const EDGES = [[0, 1], [2, 3], [4, 5], [6, 7], [0, 2], [1, 3], [4, 6], [5, 7], [0, 4], [1, 5], [2, 6], [3, 7]];

class Viewer {
  constructor(figure) {
    this.data = JSON.parse(figure.querySelector("script").textContent);
    this.canvas = element("canvas", { tabIndex: 0, ariaLabel: "structure: drag to turn, wheel to zoom, click an atom" });
    this.addControls(figure);
    const ends = [0, 1, 2].map((a) => [...this.data.places, ...this.data.corners].reduce(
      ([low, high], p) => [Math.min(low, p[a]), Math.max(high, p[a])], [Infinity, -Infinity]));
    this.middle = ends.map(([low, high]) => (low + high) / 2);
    this.reach = Math.hypot(...ends.map(([low, high]) => (high - low) / 2)) + 1;
    this.ends = ends;
    this.addGestures();
    this.reset();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  addControls(figure) {
    const choice = (items) => element("select", {}, ...items.map((item, k) => element("option", { value: k }, item)));
    const range = (value) => element("input", { type: "range", min: 0, max: 1, step: 0.01, defaultValue: value });
    this.quantity = choice(this.data.quantities.map((q) => q.name));
    this.species = choice(["all", ...this.data.species]);
    this.axis = choice(["none", "x", "y", "z", "line of sight"]);
    this.place = range(0.5);
    this.thickness = range(0.25);
    this.contrast = range(1);
    this.least = range(0);
    this.bySize = element("input", { type: "checkbox", defaultChecked: true });
    this.bar = element("div", { className: "bar" });
    this.scale = element("div", { className: "scale" });
    this.picked = element("output", {}, "Click an atom for its numbers.");
    const again = element("button", { type: "button", onclick: () => this.reset() }, "reset");
    const label = (text, control) => element("label", {}, text, control);
    const controls = [
      label("colour", this.quantity), element("div", { className: "legend" }, this.bar, this.scale),
      label("full colour at", this.contrast), label("hide below", this.least),
      label("large where strong", this.bySize), ...(this.data.species.length > 1 ? [label("atoms", this.species)] : []),
      label("slice along", this.axis), label("  place", this.place), label("  thickness", this.thickness),
      again, this.picked];
    const form = element("form", { oninput: () => this.draw() }, ...controls);
    figure.append(this.canvas, form);
  }

  reset() {
    this.turn = this.data.view;
    this.zoom = 1;
    this.selected = -1;
    this.picked.textContent = "Click an atom for its numbers.";
    this.canvas.parentElement.querySelector("form").reset();
    this.draw();
  }

  rotate(dx, dy) {
    const [[a, b], [c, d]] = [[Math.cos(dx), Math.sin(dx)], [Math.cos(dy), Math.sin(dy)]];
    const [x, y, z] = this.turn;
    const side = x.map((v, k) => a * v + b * z[k]), depth = z.map((v, k) => a * v - b * x[k]);
    this.turn = [side, y.map((v, k) => c * v + d * depth[k]), depth.map((v, k) => c * v - d * y[k])];
    this.draw();
  }

  // Pixels right, pixels down, and depth towards the reader.
  project(point) {
    const from = point.map((x, k) => x - this.middle[k]);
    const [x, y, z] = this.turn.map((row) => row[0] * from[0] + row[1] * from[1] + row[2] * from[2]);
    return [this.width / 2 + this.scaling * x, this.height / 2 - this.scaling * y, z];
  }

  legend() {
    const quantity = this.data.quantities[this.quantity.value];
    let [low, high] = quantity.limits;
    const share = Math.max(0.01, this.contrast.value);
    const start = quantity.diverging ? 0 : low;
    const strongest = high - start || 1;
    high = start + strongest * share;
    low = quantity.diverging ? -high : low;
    this.bar.style.background = `linear-gradient(to right, ${quantity.colours.join(", ")})`;
    const ends = share < 1 ? [quantity.diverging ? "≤ " : "", "≥ "] : ["", ""];
    this.scale.replaceChildren(...[ends[0] + number(low), number((low + high) / 2), `${ends[1]}${number(high)} ${quantity.unit}`]
      .map((text) => element("span", {}, text)));
    return { quantity, low, high, start, strongest };
  }

  // One picture of a sphere for each colour, drawn many times.
  sprite(colour) {
    this.sprites ??= new Map();
    if (!this.sprites.has(colour)) {
      const canvas = element("canvas", { width: 64, height: 64 }), pen = canvas.getContext("2d");
      const light = pen.createRadialGradient(24, 22, 2, 32, 32, 32);
      light.addColorStop(0, `color-mix(in srgb, ${colour} 70%, white)`);
      light.addColorStop(0.5, colour);
      light.addColorStop(1, `color-mix(in srgb, ${colour} 70%, black)`);
      pen.fillStyle = light;
      pen.arc(32, 32, 31, 0, 7);
      pen.fill();
      pen.strokeStyle = "#0008";
      pen.stroke();
      this.sprites.set(colour, canvas);
    }
    return this.sprites.get(colour);
  }

  visible(k, depth, value, strength) {
    const wanted = Number(this.species.value), axis = Number(this.axis.value);
    if ((wanted && this.data.kinds[k] !== wanted - 1) || strength < this.least.value) return false;
    if (!axis) return true;
    const [low, high] = axis < 4 ? this.ends[axis - 1] : [-this.reach, this.reach];
    const at = ((axis < 4 ? this.data.places[k][axis - 1] : depth) - low) / (high - low || 1);
    return Math.abs(at - this.place.value) <= this.thickness.value / 2 + 1e-9;
  }

  draw() {
    const ratio = window.devicePixelRatio || 1, pen = this.canvas.getContext("2d");
    [this.width, this.height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    this.canvas.width = this.width * ratio;
    this.canvas.height = this.height * ratio;
    this.scaling = (this.zoom * Math.min(this.width, this.height)) / (2 * this.reach);
    pen.scale(ratio, ratio);
    const { quantity, low, high, start, strongest } = this.legend(), last = quantity.colours.length - 1;
    const corners = this.data.corners.map((corner) => this.project(corner));
    pen.strokeStyle = "#999";
    for (const [from, to] of corners.length ? EDGES : []) {
      pen.beginPath();
      pen.moveTo(corners[from][0], corners[from][1]);
      pen.lineTo(corners[to][0], corners[to][1]);
      pen.stroke();
    }
    this.spheres = [];
    this.data.places.forEach((place, k) => {
      const [x, y, depth] = this.project(place), value = quantity.values[k];
      const strength = value === null ? 0 : Math.abs(value - start) / strongest;
      if (!this.visible(k, depth, value, strength)) return;
      const share = Math.min(1, (strength * strongest) / (high - start));
      const size = this.bySize.checked ? 0.3 + 0.7 * Math.sqrt(share) : 1;
      const at = Math.min(1, Math.max(0, (value - low) / (high - low)));
      const colour = value === null ? "#bbbbbb" : quantity.colours[Math.round(at * last)];
      this.spheres.push({ k, x, y, depth, radius: this.scaling * this.data.radii[k] * size, colour });
    });
    this.spheres.sort((a, b) => a.depth - b.depth);
    for (const { k, x, y, radius, colour } of this.spheres) {
      pen.drawImage(this.sprite(colour), x - radius, y - radius, 2 * radius, 2 * radius);
      if (k !== this.selected) continue;
      pen.lineWidth = 3;
      pen.strokeStyle = "#000";
      pen.beginPath();
      pen.arc(x, y, radius + 2, 0, 7);
      pen.stroke();
      pen.lineWidth = 1;
    }
  }

  pick(x, y) {
    const hit = this.spheres.findLast((s) => Math.hypot(s.x - x, s.y - y) <= Math.max(s.radius, 5));
    this.selected = hit ? hit.k : -1;
    this.picked.textContent = hit ? this.numbers(hit.k) : "Click an atom for its numbers.";
    this.draw();
  }

  numbers(k) {
    const position = this.data.positions[k].map((x) => x.toFixed(3)).join(", ");
    const values = this.data.quantities.map((q) => `${q.name}: ${number(q.values[k])} ${q.unit}`);
    return [`atom ${this.data.atoms[k]}, ${this.data.species[this.data.kinds[k]]}`, `at ${position} Å`, ...values].join("\n");
  }

  addGestures() {
    const fingers = new Map(), canvas = this.canvas;
    let moved = 0;
    const magnify = (factor) => { this.zoom = Math.min(50, Math.max(0.2, this.zoom * factor)); this.draw(); };
    const spread = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]); };
    canvas.onpointerdown = (event) => {
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
      if (fingers.size === 1) moved = 0;
    };
    canvas.onpointermove = (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const wide = fingers.size === 2 && spread();
      fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
      const [dx, dy] = [event.offsetX - before[0], event.offsetY - before[1]];
      moved += Math.abs(dx) + Math.abs(dy);
      if (wide) magnify(spread() / wide);
      else if (moved > 4) this.rotate(dx / 150, dy / 150);
    };
    canvas.onpointerup = (event) => {
      if (moved <= 4 && fingers.size === 1) this.pick(event.offsetX, event.offsetY);
      fingers.delete(event.pointerId);
    };
    canvas.onpointercancel = (event) => fingers.delete(event.pointerId);
    canvas.onwheel = (event) => { event.preventDefault(); magnify(Math.exp(-event.deltaY / 500)); };
    canvas.onkeydown = (event) => {
      const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
      const factor = { "+": 1.2, "-": 1 / 1.2 }[event.key];
      if (!step && !factor) return;
      event.preventDefault();
      if (step) this.rotate(...step);
      else magnify(factor);
    };
  }
}

for (const figure of document.querySelectorAll(".viewer")) figure.viewer = new Viewer(figure);
