// What Snakemake's report lacks: it opens on the results instead of the graph of rules, captions
// stand beside their figures and tables, and titles in lists are links. The names that are used here
// are those of Snakemake's own components, which are loaded before.
"use strict";

const opening = {
  // The results whose category this is stand on the first page.
  first: "1 Overlap",
  // It stands there before the figures; other tables may be long and stand after them.
  summary: "Summary table",
  // A study without labels has no figures there; it shows its first pairs instead.
  pairs: "3 Pairs",
  shownPairs: 3,

  category(name) {
    return Object.values(categories[name] || {}).flat();
  },

  title(path) {
    return Object.values(results[path].labels || {}).join(", ") || path;
  },

  kind(path) {
    const type = getResultMimeType(path);
    if (type.startsWith("image/")) return "img";
    return { "text/html": "html", "application/pdf": "pdf" }[type];
  },

  link(app, path, title) {
    const kind = opening.kind(path);
    const uri = results[path].data_uri;
    if (kind === undefined) return e("a", { key: path, href: uri, download: results[path].name }, title);
    const show = (event) => {
      event.preventDefault();
      app.setView({ content: kind, contentPath: uri, resultPath: path });
    };
    return e("a", { key: path, href: "#", onClick: show, className: "opening-link" }, title);
  },

  caption(path) {
    return e("div", {
      className: "opening-caption prose prose-sm",
      dangerouslySetInnerHTML: { __html: results[path].caption || "" },
    });
  },

  // A page of a table is as high as its content, which only a document of this page can tell. The
  // sandbox lets nothing in it run.
  table(path) {
    const uri = results[path].data_uri;
    const encoded = uri.split(";base64,")[1];
    if (encoded === undefined) return e("iframe", { src: uri, className: "opening-table" });
    const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
    const fit = (event) => {
      const frame = event.target;
      frame.style.height = `${frame.contentDocument.documentElement.scrollHeight + 20}px`;
    };
    return e("iframe", {
      srcDoc: new TextDecoder().decode(bytes),
      sandbox: "allow-same-origin",
      onLoad: fit,
      className: "opening-table",
    });
  },

  figure(app, path) {
    const drawn =
      opening.kind(path) === "html" ? opening.table(path) : e("img", { src: results[path].data_uri });
    const heading = e("h2", {}, opening.link(app, path, opening.title(path)));
    return e("section", { key: path }, heading, drawn, opening.caption(path));
  },

  // Pairs stand under their experiments, one line a pair and one link a picture.
  list(app, category) {
    const groups = Object.entries(categories[category]).map(([subcategory, paths]) => {
      const pairs = {};
      for (const path of paths) {
        const { pair, run } = results[path].labels || {};
        (pairs[pair || ""] ||= []).push(opening.link(app, path, run || opening.title(path)));
      }
      const lines = Object.entries(pairs).map(([pair, links]) =>
        e("li", { key: pair }, pair ? `${pair}: ` : "", links.flatMap((link, i) => (i ? [" · ", link] : [link]))),
      );
      const name = subcategory === "Other" ? [] : [e("h3", { key: "name" }, subcategory)];
      return e("div", { key: subcategory }, ...name, e("ul", {}, lines));
    });
    return e("section", { key: category }, e("h2", {}, category.replace(/^\d+ /, "")), groups);
  },

  // The first paragraph of the description names the study.
  name() {
    const described = new DOMParser().parseFromString(workflow_desc, "text/html");
    const first = described.querySelector("p");
    return first ? first.textContent : "";
  },

  sideBySide() {
    const run = (path) => (results[path].labels || {}).run;
    const paths = opening.category(opening.pairs).filter((path) => run(path) === "methods side by side");
    return paths.sort().slice(0, opening.shownPairs);
  },

  page(app) {
    const paths = opening.category(opening.first);
    const isFigure = (path) => opening.kind(path) !== "html";
    const place = (path) => (opening.title(path) === opening.summary ? 0 : isFigure(path) ? 1 : 2);
    const ordered = [...paths].sort((one, other) => place(one) - place(other));
    const shown = ordered.some(isFigure) ? ordered : [...ordered, ...opening.sideBySide()];
    const rest = Object.keys(categories).filter((name) => name !== opening.first).sort();
    return e(
      "div",
      { className: "opening" },
      e("h1", {}, opening.name()),
      shown.map((path) => opening.figure(app, path)),
      rest.map((name) => opening.list(app, name)),
      e(
        "section",
        {},
        e("h2", {}, "About this study"),
        e("div", { className: "prose prose-sm", dangerouslySetInnerHTML: { __html: workflow_desc } }),
      ),
    );
  },
};

const drawContent = ContentDisplay.prototype.renderContent;
ContentDisplay.prototype.renderContent = function () {
  const { app } = this.props;
  const { content, contentPath } = app.state;
  const isEmpty = content === "metadata" && Object.keys(metadata).length === 0;
  if (content === "opening" || isEmpty) return opening.page(app);
  const drawn = drawContent.call(this);
  const path = Object.keys(results).find((name) => results[name].data_uri === contentPath);
  if (!["img", "html", "pdf"].includes(content) || path === undefined) return drawn;
  const heading = e("h1", {}, opening.title(path));
  // A table may be long, so its caption stands above; a picture is seen first.
  const caption = opening.caption(path);
  const parts = content === "img" ? [heading, drawn, caption] : [heading, caption, drawn];
  return e("div", { className: `opening-result ${content}` }, ...parts);
};

AbstractResults.prototype.renderEntries = function (data) {
  const { app } = this.props;
  const toggled = [...data.toggleLabels.keys()].map((label) => this.state.toggles.get(label));
  return data.entryLabelValues.map((labels) => {
    const path = data.entries.get(arrayKey(labels)).get(arrayKey(toggled));
    const chosen = path === app.state.resultPath ? "bg-slate-700" : "";
    const about = { href: "#", onClick: () => app.showResultInfo(path), iconName: "information-circle" };
    return e(
      "tr",
      { key: path, className: chosen },
      labels.map((label) => e("td", { key: label, className: "p-1 pl-2" }, opening.link(app, path, label))),
      e("td", { key: "about", className: "p-1 text-right" }, e(Button, about)),
    );
  });
};

const style = document.createElement("style");
style.textContent = `
  .opening { align-self: flex-start; width: 100%; max-width: 75rem; padding: 1rem 2rem 4rem; }
  .opening h1 { font-size: 1.4rem; font-weight: 600; }
  .opening h2 { font-size: 1.15rem; font-weight: 600; margin: 1.6rem 0 .4rem; }
  .opening h3 { font-weight: 600; margin: .6rem 0 .2rem; }
  .opening li { margin: .15rem 0; overflow-wrap: anywhere; }
  .opening img { max-width: 100%; }
  .opening section .opening-link, .opening-link:hover { text-decoration: underline; }
  .opening-table { width: 100%; height: 20rem; border: 0; }
  .opening-caption { max-width: 60rem; margin: .4rem 0 .8rem; }
  .opening-result { align-self: flex-start; width: 100%; padding: 1rem 1.5rem; }
  .opening-result h1 { font-size: 1.15rem; font-weight: 600; }
  .opening-result img { max-width: 100%; }
  .opening-result.html { display: flex; flex-direction: column; height: 100vh; }
  .opening-result.html iframe { flex: 1; min-height: 20rem; }
`;
document.head.append(style);
