// The explorer: what the reader chooses stands in the address, and is drawn and listed from there.
// Gains are paired and intervals taken by deepaug/pages/explorer.py; nothing is computed here but
// means of what is drawn.
"use strict";
(() => {
  const page = document.getElementById("explore");
  const site = new URL(`${page.dataset.site}/`, document.baseURI);
  const part = (name) => page.querySelector(`.${name}`);
  const say = (text) => (part("status").textContent = text);

  // In the order in which one choice narrows the next. "" stands for all, where there is an all.
  const CHOICES = {
    profile: "Profile", modality: "Modality", data: "Data set", study: "Study", stage: "Stage",
    objective: "Training", split: "Split", metric: "Metric", transform: "Transform",
    strength: "Strength p", way: "Way", layer: "Layer", seed: "Seed",
  };
  const FIXED = ["profile", "split"]; // one of them at a time: runs of two machines do not pair
  const OF_ARMS = ["transform", "strength", "way", "layer"];
  const ALL = { metric: "primary" };
  const CONTROLS = ["untrained", "no-augmentation", "same-mask", "noise"]; // always in view
  const PANELS = 6; // more would be a figure that nobody reads
  const MINUS = "\u2212";

  let data, table, chosen = {}, notes = [];

  // Data

  async function open() {
    part("open").disabled = true;
    say("Loading the records …");
    try {
      const at = (name) => new URL(`explorer/${name}`, site);
      const [content, library] = await Promise.all([
        fetch(at("data.json")).then((r) => (r.ok ? r.json() : Promise.reject(r.statusText))),
        import(at("table.js")),
        import(at("plot.js")),
        new Promise((done, failed) => {
          const link = Object.assign(document.createElement("link"), { rel: "stylesheet" });
          Object.assign(link, { href: at("table.css"), onload: done, onerror: failed });
          document.head.append(link);
        }),
      ]);
      data = content;
      data.rows = content.rows.map((row) =>
        Object.fromEntries(row.map((value, i) => [content.columns[i], value])));
      listRunsWith(library.jQuery);
    } catch (error) {
      part("open").disabled = false;
      return say(`The explorer could not be loaded (${error}). It needs a web server, such as ` +
        "python -m http.server; records.csv has all records.");
    }
    part("open").hidden = true;
    if (!data.rows.length) return say("Nothing is recorded yet.");
    part("body").hidden = false;
    follow();
  }

  // Choices

  const isControl = (row) => row.role === "baseline" || CONTROLS.includes(row.control);

  const agrees = (row, name, value) =>
    value === "" ? name !== "metric" || row.primary
      : OF_ARMS.includes(name) && isControl(row) ? true : String(row[name]) === value;

  const matching = (names, of = chosen) =>
    data.rows.filter((row) => names.every((name) => agrees(row, name, of[name])));

  // Take the selection from the address; where it has none, begin at the first stage that judges.
  function follow() {
    const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    if (!Object.keys(given).some((name) => name in CHOICES)) Object.assign(given, beginning());
    chosen = Object.fromEntries(Object.keys(CHOICES).map((name) => [name, given[name] ?? ""]));
    update();
  }

  function beginning() {
    const { profile, modality, study } = data.rows[0];
    const arms = data.rows.filter((row) =>
      row.profile === profile && row.study === study && row.role === "arm");
    const judging = arms.filter((row) => data.stages[row.stage]);
    const stage = (judging[0] ?? arms[0] ?? data.rows[0]).stage;
    return { profile, modality, study, stage };
  }

  function update() {
    const names = Object.keys(CHOICES);
    notes = [];
    names.forEach((name, i) => {
      const options = optionsOf(name, matching(names.slice(0, i)));
      if (FIXED.includes(name) && chosen[name] === "") chosen[name] = options[0];
      if (chosen[name] !== "" && !options.includes(chosen[name])) {
        const other = FIXED.includes(name) ? options[0] : "";
        notes.push(`No run of this selection has ${CHOICES[name].toLowerCase()} ${chosen[name]}; ` +
          `shown: ${other || "all"}.`);
        chosen[name] = other;
      }
      offer(name, options);
    });
    const kept = Object.entries(chosen).filter(([, value]) => value !== "");
    history.replaceState(null, "", `#${new URLSearchParams(kept)}`);
    show();
  }

  function optionsOf(name, rows) {
    if (name === "split") return ["validation", "test"];
    if (OF_ARMS.includes(name)) rows = rows.filter((row) => !isControl(row));
    if (name === "layer") rows = [...rows].sort((a, b) => a.depth - b.depth);
    const values = [...new Set(rows.map((row) => row[name]))];
    if (typeof values[0] === "number") values.sort((a, b) => a - b);
    return values.map(String);
  }

  function offer(name, options) {
    let select = part("choices").elements[name];
    if (!select) {
      const choice = document.createElement("div"), label = document.createElement("label");
      select = Object.assign(document.createElement("select"), { name, id: `choose-${name}` });
      Object.assign(label, { textContent: CHOICES[name], htmlFor: select.id });
      select.addEventListener("change", () => {
        chosen[name] = select.value;
        update();
      });
      choice.append(label, select);
      part("choices").append(choice);
    }
    const all = FIXED.includes(name) ? [] : [new Option(ALL[name] ?? "all", "")];
    select.replaceChildren(...all, ...options.map((value) => new Option(named(name, value), value)));
    select.value = chosen[name];
  }

  function named(name, value) {
    if (name === "metric") return data.metrics[value];
    if (name === "way") return data.ways[value] ?? value;
    return value;
  }

  // What is shown: what was chosen, and of each panel the controls, from elsewhere where need be

  const place = (row) => [row.study, row.stage, row.data, row.objective, row.cut, row.setting].join(" ");

  function show() {
    const found = matching(Object.keys(CHOICES)), panels = grouped(found, place);
    const whole = [...panels.values()].map((rows) => [...rows, ...controlsFromElsewhere(rows)]);
    const runs = [...new Set(whole.flat())];
    say([...notes, ...told(found, panels)].join(" "));
    draw(whole.slice(0, PANELS));
    part("commands").textContent = commands(runs);
    table.clear().rows.add(runs).draw();
  }

  function grouped(rows, by) {
    const found = new Map();
    for (const row of rows) {
      const name = by(row);
      if (!found.has(name)) found.set(name, []);
      found.get(name).push(row);
    }
    return found;
  }

  // A stage has not every control: the others come from the latest stage of the same task that has.
  function controlsFromElsewhere(rows) {
    const [{ data: set, objective, study }] = rows;
    const others = matching(["profile", "split", "metric", "seed"]).filter((row) =>
      row.data === set && row.objective === objective && row.cut === "none" && row.setting === "");
    return CONTROLS.filter((name) => !rows.some((row) => row.control === name)).flatMap((name) => {
      const having = others.filter((row) => row.control === name);
      const own = having.filter((row) => row.study === study);
      const last = (own.length ? own : having).at(-1);
      return last ? having.filter((row) => place(row) === place(last)) : [];
    });
  }

  function told(found, panels) {
    const runs = new Set(found.map((row) => row.key)).size;
    const said = [`${runs} runs in ${panels.size} panel${panels.size === 1 ? "" : "s"}.`];
    const idle = [...new Set(found.map((row) => row.stage))].filter((name) => !data.stages[name]);
    if (idle.length) said.push(`Hollow: ${idle.join(", ")} ${idle.length > 1 ? "judge" : "judges"} nothing.`);
    const lost = found.filter((row) => row.status === "diverged").length;
    if (lost) said.push(`${lost} diverged.`);
    const unpaired = found.filter((row) => row.gain === null).length;
    if (unpaired) said.push(`${unpaired} without a pair: in the table alone.`);
    if (panels.size > PANELS) said.push(`The first ${PANELS} of ${panels.size} panels are drawn; choose fewer.`);
    if (chosen.split === "test") {
      const both = matching(Object.keys(CHOICES), { ...chosen, split: "validation" });
      const all = new Set(both.map((row) => row.key)).size;
      if (all > runs) said.push(`Test metrics of ${all - runs} runs are withheld: ` +
        "they serve no claim, or one that has still to be judged.");
    }
    return said;
  }

  // Figure

  async function draw(panels) {
    const plot = part("plot"), figure = document.createElement("div");
    if (!panels.length) return plot.replaceChildren();
    const style = getComputedStyle(page), colour = (name) => style.getPropertyValue(name).trim();
    const text = colour("--pst-color-text-base"), width = plot.clientWidth - 16;
    const reach = extent(panels.flat());
    const spec = {
      background: null,
      description: "Gains over the baseline: a line for each arm, a dot for each run. " +
        "The table below has the numbers.",
      padding: { left: 4, right: 4, top: 4, bottom: 4 },
      vconcat: panels.map((rows) => panel(rows, reach, width, colour)),
      config: {
        view: { stroke: colour("--pst-color-border") },
        axis: { labelColor: text, titleColor: text, gridColor: colour("--pst-color-border"), gridOpacity: 0.6,
          domainColor: text, tickColor: text, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" },
        title: { color: text, fontSize: 13, anchor: "start", limit: width },
        text: { color: text, fontSize: 12 },
        font: getComputedStyle(document.body).fontFamily,
      },
    };
    await vegaEmbed(figure, spec, { actions: false, renderer: "svg" });
    plot.replaceChildren(figure);
  }

  // The frame fits the arms; what lies far off, an untrained network say, stands at its edge.
  function extent(rows) {
    const paired = rows.filter((row) => row.gain !== null && row.status !== "diverged");
    const arms = paired.filter((row) => !isControl(row) && row.role !== "reference");
    const near = arms.length ? arms : paired;
    const gains = near.flatMap((row) => [row.gain, row.low ?? row.gain, row.high ?? row.gain]);
    const low = Math.min(-1, ...gains), high = Math.max(1, ...gains);
    const margin = 0.06 * (high - low);
    return [low - margin, high + margin];
  }

  function panel(rows, [low, high], width, colour) {
    const clamp = (value) => Math.min(high, Math.max(low, value));
    const lines = grouped(rows.filter((row) => row.gain !== null), (row) => row.arm + place(row));
    const values = [], means = [];
    for (const runs of [...lines.values()].sort(byDepth)) {
      const row = runs[0], line = label(row, rows[0]);
      const mean = runs.reduce((sum, run) => sum + run.gain, 0) / runs.length;
      const paint = colour(`--${data.families[row.transform] ?? "none"}`);
      const whole = chosen.seed === "" && row.low !== null;
      const effect = row.role === "baseline" ? "0" : signed(mean);
      means.push({ line, effect, paint, mean: clamp(mean), low: whole ? clamp(row.low) : null,
        high: whole ? clamp(row.high) : null });
      for (const run of runs) {
        const at = clamp(run.gain), judges = data.stages[run.stage];
        const shape = run.status === "diverged" ? "cross"
          : run.gain < low ? "triangle-left" : run.gain > high ? "triangle-right" : "circle";
        values.push({ line, at, shape, stroke: paint, fill: judges ? paint : "transparent",
          href: String(record(run)), arm: run.arm, seed: run.seed, stage: `${run.study}, ${run.stage}`,
          gain: signed(run.gain), value: run.value === null ? "diverged" : run.value.toFixed(1),
          status: run.status, record: run.key,
          told: `${run.arm}, seed ${run.seed}: ${signed(run.gain)} points` });
      }
    }
    const why = chosen.split === "test" ? "withheld" : "not recorded";
    for (const name of CONTROLS) {
      if (!rows.some((row) => row.control === name)) means.push({ line: `${name}: ${why}`, effect: "" });
    }
    const order = means.map((row) => row.line);
    const y = { field: "line", type: "nominal", sort: order, scale: { domain: order },
      axis: { title: null, labels: false, ticks: false, domain: false, bandPosition: 0 } };
    const x = (field) => ({ field, type: "quantitative", scale: { domain: [low, high], nice: false },
      axis: { title: "gain over the baseline, points", tickCount: 5, orient: "bottom" } });
    const raw = (field) => ({ field, type: "nominal", scale: null });
    const [{ study, stage, data: set, objective, cut, setting, modality }] = rows;
    const below = { yOffset: 7 }, tooltip = ["arm", "seed", "gain", "value", "status", "stage", "record"];
    return {
      title: { text: `${set} (${modality}), ${objective}`,
        subtitle: [study, stage, cut === "none" ? "" : `cut after ${cut}`, setting].filter(Boolean).join(", ") +
          `${data.stages[stage] ? "" : ": judges nothing"}`,
        subtitleColor: colour("--pst-color-text-base") },
      width, height: { step: 42 }, data: { values: means },
      layer: [
        { mark: { type: "rule", strokeWidth: 1.5 }, data: { values: [{ zero: 0 }] },
          encoding: { x: x("zero"), color: { value: colour("--none") } } },
        { mark: { type: "text", align: "right", dy: -10, fontWeight: "bold" },
          encoding: { y, x: { value: 44 }, text: { field: "effect" } } },
        { mark: { type: "text", align: "left", dy: -10, limit: width - 56 },
          encoding: { y, x: { value: 52 }, text: { field: "line" } } },
        { mark: { type: "rule", strokeWidth: 2, ...below }, transform: [{ filter: "isValid(datum.low)" }],
          encoding: { y, x: x("low"), x2: { field: "high" }, color: raw("paint") } },
        { mark: { type: "tick", thickness: 3, size: 16, ...below }, transform: [{ filter: "isValid(datum.mean)" }],
          encoding: { y, x: x("mean"), color: raw("paint") } },
        { mark: { type: "point", size: 60, strokeWidth: 1.6, opacity: 0.85, cursor: "pointer", ...below },
          data: { values },
          encoding: { y, x: x("at"), shape: raw("shape"), fill: raw("fill"), stroke: raw("stroke"),
            href: { field: "href" }, description: { field: "told" },
            tooltip: tooltip.map((field) => ({ field })) } },
      ],
    };
  }

  // The baseline and the controls first, then arms from shallow to deep.
  function byDepth([a], [b]) {
    const rank = (row) => row.role === "baseline" ? 0
      : CONTROLS.includes(row.control) ? 1 + CONTROLS.indexOf(row.control) : 9;
    return rank(a) - rank(b) || a.depth - b.depth || a.arm.localeCompare(b.arm, "en");
  }

  const label = (row, of) =>
    place(row) === place(of) ? row.arm : `${row.arm} (${row.study}, ${row.stage})`;
  const signed = (value) =>
    `${value < -0.05 ? MINUS : value >= 0.05 ? "+" : ""}${Math.abs(value).toFixed(1)}`;
  const record = (row) => new URL(`results/${row.profile}/${row.key}.json`, site);

  // Commands

  // A trial that other records chose is not known to an empty store: it is repeated from its own.
  function commands(rows) {
    const keys = (of) => [...new Set(of.map((row) => row.key))].join(" ");
    const listed = rows.filter((row) => data.listed.includes(`${row.profile} ${row.study} ${row.stage}`));
    const others = rows.filter((row) => !listed.includes(row));
    const lines = [...grouped(listed, (row) => row.study).values()].map((of) =>
      `deepaug run ${of[0].study} --profile ${of[0].profile} --results again --only ${keys(of)}`);
    if (others.length) lines.push(`for key in ${keys(others)}; do deepaug reproduce $key; done`);
    return lines.join("\n");
  }

  // Table and downloads

  const COLUMNS = {
    gain: "gain", arm: "arm", seed: "seed", value: "value", low: "low", high: "high",
    data: "data set", metric: "metric", split: "split", study: "study", stage: "stage",
    objective: "training", layer: "layer", transform: "transform", strength: "p", way: "way",
    status: "status", key: "record",
  };

  function listRunsWith(jQuery) {
    const element = document.createElement("table");
    part("runs").append(element);
    const shown = (name) => (value, kind, row) => {
      if (kind !== "display") return value;
      if (name === "key") return `<a href="${record(row)}">${value}</a>`;
      if (value === null) return "–";
      if (["gain", "low", "high"].includes(name)) return signed(value);
      return name === "value" ? value.toFixed(1) : escaped(String(value));
    };
    table = jQuery(element).DataTable({
      columns: Object.entries(COLUMNS).map(([name, title]) => ({ data: name, title, render: shown(name) })),
      order: [], pageLength: 10, autoWidth: false,
      layout: { topStart: "search", topEnd: null, bottomStart: "info", bottomEnd: "paging" },
    });
  }

  const escaped = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
  const listed = () => table.rows({ search: "applied", order: "applied" }).data().toArray();

  function save(text, type, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = `deepaug-selection.${name}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  function csv(rows) {
    const cell = (value) => {
      const text = value === null ? "" : String(value);
      return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    return [data.columns, ...rows.map((row) => data.columns.map((name) => row[name]))]
      .map((row) => row.map(cell).join(",") + "\n").join("");
  }

  part("csv").addEventListener("click", () => save(csv(listed()), "text/csv", "csv"));
  part("json").addEventListener("click", () =>
    save(JSON.stringify({ selection: chosen, runs: listed() }, null, 1), "application/json", "json"));
  part("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(part("commands").textContent);
      part("copy").textContent = "Copied";
      setTimeout(() => (part("copy").textContent = "Copy"), 2000);
    } catch { // without https there is no clipboard
      getSelection().selectAllChildren(part("commands"));
    }
  });
  part("reset").addEventListener("click", () => {
    history.replaceState(null, "", location.pathname);
    follow();
  });
  part("open").addEventListener("click", async () => {
    await open();
    part("choices").elements[0]?.focus(); // the button is gone
  });

  const again = () => data?.rows.length && show();
  // Anchors of headings are no selection.
  window.addEventListener("hashchange", () => data && location.hash.includes("=") && follow());
  new MutationObserver(again).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  let width = 0, timer;
  new ResizeObserver(([entry]) => {
    if (Math.abs(entry.contentRect.width - width) < 2) return;
    width = entry.contentRect.width;
    clearTimeout(timer);
    timer = setTimeout(again, 150);
  }).observe(part("plot"));
  if (location.hash.includes("=")) open(); // somebody's selection
})();
