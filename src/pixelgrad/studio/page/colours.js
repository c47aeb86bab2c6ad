// The colours of maps: 33 points of each scale, linear between them.

const POINTS = {
  map: 
    "0000040403120b0724150b37210c4a2f0a5b3d09654a0c6b57106e64156e71196e7d1e6d8a226a972766a32c61b0315b" +
    "bc3754c63d4dd04545da4e3ce35933eb6429f1711ff67e14f98c0afb9b06fcaa0ffbba1ff9c932f5d949f2e865f3f586" +
    "fcffa4",
  signed: 
    "3b4cc0445acc4e68d85875e16282ea6c8ff1779af782a6fb8db0fe98b9ffa3c2feaec9fcb9d0f9c3d5f4ccd9edd5dbe5" +
    "dddcdce4d9d2ebd3c6f1cdbaf4c5adf7bca1f7b194f7a688f49a7bf18d6fec7f63e57058de614dd55042cb3e38c0282f" +
    "b40426",
};

const TABLES = Object.fromEntries(Object.entries(POINTS).map(([kind, hex]) => [kind, table(hex)]));

/** 256 colours as bytes r, g, b, r, g, b, … */
function table(hex) {
  const points = hex.match(/../g).map((pair) => parseInt(pair, 16));
  const last = points.length / 3 - 1;
  return Uint8ClampedArray.from({ length: 768 }, (_, k) => {
    const [i, c] = [Math.floor(k / 3), k % 3];
    const at = (i / 255) * last;
    const below = Math.min(Math.floor(at), last - 1);
    return points[3 * below + c] + (at - below) * (points[3 * below + 3 + c] - points[3 * below + c]);
  });
}

/** Draw values (height·width) into a canvas, from `lo` to `hi`. */
export function colour(canvas, values, lo, hi, kind) {
  const pen = canvas.getContext("2d");
  const pixels = pen.createImageData(canvas.width, canvas.height);
  const colours = TABLES[kind] ?? TABLES.map;
  const factor = hi > lo ? 255 / (hi - lo) : 0;
  for (let i = 0; i < values.length; i++) {
    const k = 3 * Math.max(0, Math.min(255, Math.round((values[i] - lo) * factor)));
    pixels.data[4 * i] = colours[k];
    pixels.data[4 * i + 1] = colours[k + 1];
    pixels.data[4 * i + 2] = colours[k + 2];
    pixels.data[4 * i + 3] = 255;
  }
  pen.putImageData(pixels, 0, 0);
}

/** The whole scale, from left to right. */
export function ramp(canvas, kind) {
  canvas.width = 256;
  canvas.height = 1;
  colour(canvas, Float32Array.from({ length: 256 }, (_, i) => i), 0, 255, kind);
}
