// One view for several panels: where they are zoomed to and moved, so that they stay in step.

const MOST = 24;

/** The common view of panels. `onchange()` after every move; `onpoint(u, v | null)` for the place under the pointer,
 * u and v in [0, 1] of the picture. */
export class View {
  constructor(onchange, onpoint) {
    this.scale = 1;
    this.x = 0; // of the panel's width, how far the picture's left edge lies to the right; never above 0
    this.y = 0;
    this.onchange = onchange;
    this.onpoint = onpoint;
  }

  /** Zoom by a factor around a place of the panel (in [0, 1]). */
  zoom(factor, px = 0.5, py = 0.5) {
    const scale = Math.min(MOST, Math.max(1, this.scale * factor));
    this.x = px - ((px - this.x) * scale) / this.scale;
    this.y = py - ((py - this.y) * scale) / this.scale;
    this.scale = scale;
    this.move(0, 0);
  }

  move(dx, dy) {
    this.x = Math.min(0, Math.max(1 - this.scale, this.x + dx));
    this.y = Math.min(0, Math.max(1 - this.scale, this.y + dy));
    this.onchange();
  }

  reset() {
    this.scale = 1;
    this.x = this.y = 0;
    this.onchange();
  }

  /** Place a layer of a panel. */
  place(layer) {
    layer.style.transform = `translate(${100 * this.x}%, ${100 * this.y}%) scale(${this.scale})`;
    layer.style.imageRendering = this.scale >= 3 ? "pixelated" : "auto";
  }

  /** Let a panel be zoomed and moved with mouse, fingers and keys. `onclick()` for a press that moved nothing. */
  attach(port, onclick) {
    const fingers = new Map();
    let moved = 0;
    const at = (event) => {
      const box = port.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    };
    const point = ([px, py]) => this.onpoint((px - this.x) / this.scale, (py - this.y) / this.scale);
    port.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      fingers.set(event.pointerId, at(event));
      moved = 0;
      if (this.scale > 1 || fingers.size > 1) port.setPointerCapture(event.pointerId);
      point(at(event));
    });
    port.addEventListener("pointermove", (event) => {
      const now = at(event);
      point(now);
      if (!fingers.has(event.pointerId)) return;
      const before = fingers.get(event.pointerId);
      moved += Math.abs(now[0] - before[0]) + Math.abs(now[1] - before[1]);
      if (fingers.size === 2) {
        const other = [...fingers].find(([key]) => key !== event.pointerId)[1];
        const factor = Math.hypot(now[0] - other[0], now[1] - other[1]) / (Math.hypot(before[0] - other[0], before[1] - other[1]) || 1);
        this.zoom(factor, (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      } else if (this.scale > 1) this.move(now[0] - before[0], now[1] - before[1]);
      fingers.set(event.pointerId, now);
    });
    const lift = (event) => {
      const pressed = fingers.delete(event.pointerId);
      if (event.type === "pointerup" && pressed && moved < 0.02) onclick?.();
    };
    port.addEventListener("pointerup", lift);
    port.addEventListener("pointercancel", lift);
    port.addEventListener("pointerleave", () => this.onpoint(null, null));
    port.addEventListener("dblclick", (event) => (this.scale >= MOST ? this.reset() : this.zoom(2, ...at(event))));
    port.addEventListener("wheel", (event) => {
      // the wheel scrolls the page until the picture is zoomed, or has the focus
      if (!event.ctrlKey && !event.metaKey && this.scale === 1 && document.activeElement !== port) return;
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 300), ...at(event));
    }, { passive: false });
    port.addEventListener("keydown", (event) => this.key(event, onclick));
  }

  key(event, onclick) {
    const steps = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "+" || event.key === "=") this.zoom(1.5);
    else if (event.key === "-") this.zoom(1 / 1.5);
    else if (event.key === "0") this.reset();
    else if (event.key in steps && this.scale > 1) this.move(...steps[event.key]);
    else if (event.key === "Enter" && onclick) onclick();
    else return;
    event.preventDefault();
  }
}
