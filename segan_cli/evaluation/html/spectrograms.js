// Spectrograms of the selected recording, computed from its decoded audio

const FRAME = report.rate_hz > 16000 ? 2048 : 512, MIN_HOP = FRAME / 4, MAX_FRAMES = 480, RANGE_DB = 70;
const STOPS = [[4, 6, 20], [58, 15, 92], [136, 34, 106], [203, 65, 73], [246, 131, 42], [252, 255, 164]];
const SHADES = Array.from({length: 256}, (_, i) => {
  const at = i / 255 * (STOPS.length - 1), k = Math.min(STOPS.length - 2, Math.floor(at));
  return STOPS[k].map((value, j) => Math.round(value + (STOPS[k + 1][j] - value) * (at - k)));
});
const GRADIENT = `linear-gradient(to right, ${STOPS.map(stop => `rgb(${stop})`).join(", ")})`;
const HANN = Float64Array.from({length: FRAME}, (_, i) => 0.5 - 0.5 * Math.cos(2 * Math.PI * i / FRAME));

function fft(re, im) {  // in place; the length is a power of two
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) { [re[i], re[j]] = [re[j], re[i]]; [im[i], im[j]] = [im[j], im[i]]; }
  }
  for (let half = 1; half < n; half *= 2) {
    for (let k = 0; k < half; k++) {
      const c = Math.cos(Math.PI * k / half), s = -Math.sin(Math.PI * k / half);
      for (let a = k, b = k + half; a < n; a += 2 * half, b += 2 * half) {
        const x = re[b] * c - im[b] * s, y = re[b] * s + im[b] * c;
        re[b] = re[a] - x; im[b] = im[a] - y;
        re[a] += x; im[a] += y;
      }
    }
  }
}
function powerSpectrogram(samples, length) {  // frames of power by frequency, over `length` samples
  const hop = Math.max(MIN_HOP, Math.ceil(length / MAX_FRAMES));
  return Array.from({length: Math.ceil(length / hop)}, (_, frame) => {
    const start = frame * hop - FRAME / 2;
    const re = HANN.map((weight, i) => weight * (samples[start + i] ?? 0)), im = new Float64Array(FRAME);
    fft(re, im);
    return Float64Array.from({length: FRAME / 2}, (_, bin) => re[bin] ** 2 + im[bin] ** 2);
  });
}
const peakOf = power => Math.max(1e-9, ...power.map(frame => Math.max(...frame)));
function canvasOf(power, peak) {  // peak and above are brightest, RANGE_DB below it is darkest
  const width = power.length, height = FRAME / 2, canvas = make("canvas", {width, height});
  const context = canvas.getContext("2d"), image = context.createImageData(width, height);
  power.forEach((frame, x) => frame.forEach((value, bin) => {
    const level = 1 + 10 * Math.log10(Math.max(value / peak, 1e-12)) / RANGE_DB;
    const shade = SHADES[Math.round(255 * Math.min(1, Math.max(0, level)))];
    image.data.set([...shade, 255], 4 * ((height - 1 - bin) * width + x));
  }));
  context.putImageData(image, 0, 0);
  return canvas;
}
function spectrogramFigure(name, index, canvas) {
  const {length} = player, picture = make("div", {class: "picture"}, canvas, make("i"));
  for (const part of [0, 1, 2, 3, 4]) {
    const khz = part * RATE_HZ / 8000;
    picture.append(make("span", {class: "f", style: `bottom: ${part * 25}%`}, part === 4 ? `${khz} kHz` : String(khz)));
  }
  for (const at of ticks(0, length, 5)) {
    picture.append(make("span", {class: "t", style: `left: ${at / length * 100}%`}, `${at} s`));
  }
  picture.addEventListener("click", event => {
    const box = picture.getBoundingClientRect();
    player.choose(index);
    player.jump((event.clientX - box.left) / box.width);
  });
  return make("figure", {class: index === player.audible ? "on" : "", "aria-label": `Spectrogram of ${name}`}, make("figcaption", {}, name), picture);
}
function drawSpectrograms() {
  const open = $("pictures").getAttribute("aria-pressed") === "true" && player.buffers.length > 0 && $("blind").hidden;
  $("spectrograms").hidden = !open;
  if (!open) return $("spectrograms").replaceChildren();
  const length = Math.max(...player.buffers.map(buffer => buffer.length));
  const powers = player.buffers.map(buffer => powerSpectrogram(buffer.getChannelData(0), length));
  const names = player.file.sound.map(version => version.name), reference = names.includes("clean") ? "clean" : noisy;
  const peak = peakOf(powers[names.indexOf(reference)]);
  $("spectrograms").replaceChildren(
    make("div", {class: "pictures"},
      ...names.map((name, i) => spectrogramFigure(name, i, canvasOf(powers[i], peak)))),
    make("p", {class: "legend"}, make("span", {}, `−${RANGE_DB} dB`, make("span", {class: "scale",
      style: `background: ${GRADIENT}`}), `0 dB relative to the loudest point of the ${reference} recording`),
    make("span", {}, `${Math.round(1000 * FRAME / RATE_HZ)} ms Hann window`)));
  player.show();
}
