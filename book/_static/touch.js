/* The figure to touch on the page of the method: a transform at one layer of a small network.

The network runs here, in evaluation mode, in float32. Its weights and the images come from the
script that deepaug/pages/touch.py writes, loaded as the figure comes into view. An activation is a
Float32Array of (features, positions), that of one image. */
"use strict";
(() => {
  const figure = document.querySelector(".touch");
  const form = figure.querySelector("form");
  const MAPS = 6;

  // The network

  const relu = (x) => x.map((value) => Math.max(0, value));
  const sum = (x) => x.reduce((total, value) => total + value, 0);

  // 3×3 or 1×1 filters, padded so that a stride of 1 keeps the side.
  function convolve(x, { weight, bias, shape: [outputs, inputs, size], stride }) {
    const side = Math.sqrt(x.length / inputs), out = Math.ceil(side / stride), pad = size >> 1;
    const y = new Float32Array(outputs * out * out);
    // Along one axis, for each shift: the outputs whose input lies within the image.
    const reach = Array.from({ length: size }, (_, at) => {
      const shift = at - pad, from = Math.max(0, Math.ceil(-shift / stride));
      return { shift, from, to: Math.min(out - 1, Math.floor((side - 1 - shift) / stride)) };
    });
    for (let o = 0, at = 0; o < outputs; o++) {
      y.fill(bias[o], o * out * out, (o + 1) * out * out);
      for (let i = 0; i < inputs; i++)
        for (const down of reach)
          for (const right of reach) {
            const w = weight[at++];
            for (let row = down.from; row <= down.to; row++) {
              let to = (o * out + row) * out + right.from;
              let from = (i * side + row * stride + down.shift) * side + right.from * stride + right.shift;
              for (let left = right.to - right.from; left >= 0; left--, from += stride)
                y[to++] += w * x[from];
            }
          }
    }
    return y;
  }

  // From one layer to the next: the stem, a residual block or, without convolutions, the mean.
  function step(x, [first, second, shortcut], { shape: [features] }) {
    if (!first) {
      const positions = x.length / features;
      const mean = (_, f) => sum(x.subarray(f * positions, (f + 1) * positions)) / positions;
      return Float32Array.from({ length: features }, mean);
    }
    const y = relu(convolve(x, first));
    if (!second) return y;
    const around = shortcut ? convolve(x, shortcut) : x;
    return relu(convolve(y, second).map((value, at) => value + around[at]));
  }

  // The outputs of a layer, given one, and of all behind it; the last are the features.
  function onwards(x, number, { layers, steps }) {
    const outputs = [x];
    for (let next = number + 1; next < layers.length; next++)
      outputs.push(step(outputs.at(-1), steps[next - 1], layers[next]));
    return outputs;
  }

  // The transforms

  // Uniform numbers in [0, 1), by the generator mulberry32.
  function uniform(seed) {
    return () => {
      seed = (seed + 0x6d2b79f5) | 0;
      let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  // What `transform` makes of one image's activation, in new memory.
  function transformed(x, { shape: [features], mean, directions }, transform, p, draw) {
    const factor = () => (draw() < p ? 0 : 1 / (1 - p)); // Bernoulli(1 − p) / (1 − p)
    const positions = x.length / features;
    if (transform === "element") return x.map((value) => value * factor());
    const M = Array.from({ length: features }, transform === "truncate" ? () => 1 : factor);
    if (transform === "feature") return x.map((value, at) => value * M[Math.floor(at / positions)]);
    if (transform === "truncate") M.fill(0, Math.max(1, Math.round((1 - p) * features)));
    const y = x.slice(); // x + (x − μ)·V(M − I)Vᵀ
    for (let at = 0; at < positions; at++)
      for (let k = 0; k < features; k++) {
        let score = 0;
        for (let f = 0; f < features; f++)
          score += (x[f * positions + at] - mean[f]) * directions[f * features + k];
        for (let f = 0; f < features; f++)
          y[f * positions + at] += score * (M[k] - 1) * directions[f * features + k];
      }
    return y;
  }

  function cosine(a, b) {
    const dot = (x, y) => sum(x.map((value, at) => value * y[at]));
    return dot(a, b) / (Math.sqrt(dot(a, a) * dot(b, b)) || 1);
  }

  // What there is to show: of every image the layer's activation, and the cosines of the features.
  function run(data, { layer, transform, p, seed }) {
    const number = data.layers.findIndex(({ name }) => name === layer);
    const draw = uniform(seed), plain = data.plain.map((outputs) => outputs.at(-1));
    const activations = data.plain.map((outputs) =>
      transformed(outputs[number], data.layers[number], transform, p, draw));
    const features = activations.map((x) => onwards(x, number, data).at(-1));
    const cosines = features.map((x) => plain.map((y) => cosine(x, y)));
    return { number, activations, features, cosines };
  }

  // The data

  function decoded({ shape, scale, data }) {
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    const values = new Int16Array(bytes.buffer);
    return { shape, values: Float32Array.from(values, (value) => value * scale) };
  }

  const rowsOf = ({ shape: [n], values }) =>
    Array.from({ length: n }, (_, at) =>
      values.slice((at * values.length) / n, ((at + 1) * values.length) / n));

  function prepare(raw) {
    const layers = raw.layers.map(({ name, shape, mean, directions }) => ({
      name, shape, mean: decoded(mean).values, directions: decoded(directions).values,
    }));
    const steps = raw.steps.map((convolutions) => convolutions.map(({ weight, bias, stride }) => {
      const { shape, values } = decoded(weight);
      return { shape, weight: values, bias: decoded(bias).values, stride };
    }));
    const data = { layers, steps, labels: raw.labels, views: rowsOf(decoded(raw.views)) };
    data.plain = rowsOf(decoded(raw.images)).map((image) => onwards(image, 0, data));
    const features = data.plain.map((outputs) => outputs.at(-1));
    data.cosines = features.map((x) => features.map((y) => cosine(x, y)));
    layers.forEach((layer, number) => describe(layer, data.plain.map((outputs) => outputs[number])));
    return data;
  }

  // Of a layer: the maps that vary most over all images.
  function describe(layer, activations) {
    const [features, height, width] = layer.shape, positions = height * width;
    const maps = Array.from({ length: features }, (_, f) => {
      const all = activations.flatMap((x) => [...x.subarray(f * positions, (f + 1) * positions)]);
      const mean = sum(all) / all.length;
      return { f, variance: sum(all.map((value) => (value - mean) ** 2)) };
    });
    layer.maps = maps.sort((a, b) => b.variance - a.variance).slice(0, MAPS).map(({ f }) => f);
  }

  // The picture

  const mean = (values) => sum(values) / values.length;
  const shown = (value) => value.toFixed(2).replace("-", "−");
  const off = (matrix) => matrix.flatMap((row, i) => row.filter((_, j) => j !== i));

  function element(parent, tag, attributes = {}, text = "") {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text;
    parent.append(made);
    return made;
  }

  function paint(canvas, values, [height, width], colour) {
    canvas.width = width;
    canvas.height = height;
    const image = new ImageData(width, height);
    values.forEach((value, at) => image.data.set([...colour(value), 255], 4 * at));
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  // White is 0; red is above it, blue below.
  function signed(most) {
    return (value) => {
      const share = Math.min(1, Math.abs(value) / (most || 1));
      return (value > 0 ? [178, 24, 43] : [33, 102, 172]).map((end) => 255 + share * (end - 255));
    };
  }

  function bar(parent) {
    const frame = element(parent, "span", { class: "touch-bar", "aria-hidden": "true" });
    return (value, mark) => {
      frame.style.setProperty("--share", Math.max(0, value));
      if (mark !== undefined) frame.style.setProperty("--mark", Math.max(0, mark));
    };
  }

  function build(data) {
    const control = form.elements;
    data.layers.forEach(({ name, shape: [features, height, width] }) => {
      const size = height > 1 ? `${features} × ${height} × ${width}` : `${features} numbers`;
      element(control.layer, "option", { value: name }, `${name} (${size})`);
    });
    control.layer.value = "stage2";
    const images = data.labels.map((label, at) => {
      const choice = element(figure.querySelector(".touch-images"), "label");
      element(choice, "input", { type: "radio", name: "image", value: at }).checked = at === 0;
      const pixels = data.plain[at][0], [low, high] = [Math.min(...pixels), Math.max(...pixels)];
      const grey = (value) => Array(3).fill((255 * (value - low)) / (high - low));
      const size = data.layers[0].shape.slice(1);
      paint(element(choice, "canvas", { "aria-hidden": "true" }), pixels, size, grey);
      element(choice, "span", { class: "visually-hidden" }, `digit ${label}, cosine`);
      return { bar: bar(choice), number: element(choice, "span", { class: "touch-number" }) };
    });
    const maps = ["as it was", "transformed"].map((name) => {
      const row = element(figure.querySelector(".touch-maps"), "div", { role: "img" });
      element(row, "span", { "aria-hidden": "true" }, name);
      const canvases = Array.from({ length: MAPS }, () => element(row, "canvas"));
      return { name, row, canvases };
    });
    const bars = ["transformed, to itself", "second view, to itself", "transformed, to others"].map((name) => {
      const row = element(figure.querySelector(".touch-bars"), "div");
      element(row, "span", {}, name);
      return { bar: bar(row), number: element(row, "span", { class: "touch-number" }) };
    });
    return { images, maps, bars };
  }

  function draw(data, parts, seed) {
    const control = form.elements, p = Number(control.p.value), image = Number(control.image.value);
    const [layer, transform] = [control.layer.value, control.transform.value];
    const found = run(data, { layer, transform, p, seed });
    const { shape: [, ...size], maps } = data.layers[found.number];

    figure.querySelector(".touch-strength").textContent = p.toFixed(2);
    parts.images.forEach((part, other) => {
      part.bar(found.cosines[image][other], data.cosines[image][other]);
      part.number.textContent = shown(found.cosines[image][other]);
    });
    const what = `${maps.length === 1 ? "The map" : `${maps.length} of the maps`} of ${layer}`;
    figure.querySelector(".touch-title").textContent =
      `${what} for the digit ${data.labels[image]}: red above zero, blue below`;
    const plain = data.plain[image][found.number], positions = size[0] * size[1];
    const map = (x, f) => x.subarray(f * positions, (f + 1) * positions);
    [plain, found.activations[image]].forEach((x, at) => {
      const { row, name, canvases } = parts.maps[at];
      row.setAttribute("aria-label", `${what}, ${name}`);
      canvases.forEach((canvas, place) => {
        canvas.hidden = place >= maps.length;
        if (canvas.hidden) return;
        const f = maps[place], most = Math.max(...map(plain, f).map(Math.abs));
        paint(canvas, map(x, f), size, signed(most));
      });
    });

    const own = mean(found.cosines.map((row, at) => row[at])), others = mean(off(found.cosines));
    const views = mean(data.views.map((view, at) => cosine(view, data.plain[at].at(-1))));
    const marks = [1, undefined, mean(off(data.cosines))];
    [own, views, others].forEach((value, at) => {
      parts.bars[at].bar(value, marks[at]);
      parts.bars[at].number.textContent = shown(value);
    });
    const nearest = found.cosines.filter((row, at) => Math.max(...row) === row[at]).length;
    figure.querySelector(".touch-said").textContent =
      `${control.transform.selectedOptions[0].text} at ${layer}, p = ${p.toFixed(2)}, draw ${seed}: ` +
      `${nearest} of the ${data.labels.length} images are still most like themselves.` +
      (transform === "truncate" ? " Nothing is drawn: every draw is the same." : "");
  }

  // What begins it

  window.touch = (raw) => {
    const data = prepare(raw), parts = build(data);
    let seed = 1, waiting = 0;
    const redraw = () => {
      cancelAnimationFrame(waiting); // a slider tells more values than there is time to draw
      waiting = requestAnimationFrame(() => draw(data, parts, seed));
    };
    form.addEventListener("input", redraw);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.elements.again.addEventListener("click", () => {
      seed += 1;
      redraw();
    });
    figure.querySelector(".touch-wait").hidden = true;
    form.hidden = false;
    draw(data, parts, seed);
    window.touch.run = (settings) => run(data, settings); // for the tests
  };

  function load() {
    const script = document.createElement("script");
    script.src = document.querySelector('a.download[href$="touch-data.js"]').href;
    script.onerror = () => {
      figure.querySelector(".touch-wait").textContent = "The data of this figure could not be loaded.";
    };
    document.head.append(script);
  }

  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    load();
  }, { rootMargin: "300px" });
  observer.observe(figure);
})();
