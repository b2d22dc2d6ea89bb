// Writes /openapi.json out as a page.

import { getJson } from "./api.js";
import { make } from "./dom.js";

const article = document.querySelector("#docs");

const typeOf = (schema, all) => {
  if (schema.$ref) return schema.$ref.split("/").pop();
  const options = schema.anyOf ?? schema.oneOf;
  if (options) return options.filter((one) => one.type !== "null").map((one) => typeOf(one, all)).join(" or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items ?? {}, all)}`;
  return schema.format ? `${schema.type} (${schema.format})` : schema.type ?? "anything";
};

const rangeOf = (schema) => {
  const bounded = [schema, ...(schema.anyOf ?? [])].find((one) => one.minimum != null || one.maximum != null);
  return bounded ? `, ${bounded.minimum ?? ""} to ${bounded.maximum ?? ""}` : "";
};

const fields = (schema, all) => {
  const object = schema.$ref ? all[schema.$ref.split("/").pop()] : schema;
  if (!object.properties) return make("p", {}, make("code", {}, typeOf(object, all)));
  const required = ([name]) => Number(object.required?.includes(name) ?? false);
  const rows = Object.entries(object.properties).sort((a, b) => required(b) - required(a)).map(([name, field]) => make("tr", {},
    make("td", {}, make("code", {}, name), object.required?.includes(name) ? make("span", { class: "required" }, " required") : ""),
    make("td", {}, typeOf(field, all) + rangeOf(field)), make("td", {}, field.description ?? "")));
  return make("div", { class: "scroll" }, make("table", {}, make("tbody", {}, ...rows)));
};

const bodies = (content = {}, all, title) => Object.entries(content).flatMap(([kind, { schema }]) =>
  schema ? [make("h3", {}, `${title} ${kind}`), fields(schema, all)] : []);

const operation = (path, method, route, all) => make("section", {},
  make("h2", {}, make("span", {}, method.toUpperCase()), ` ${path}`),
  make("p", {}, route.description ?? route.summary ?? ""),
  ...bodies(route.requestBody?.content, all, "Request,"),
  make("h3", {}, "Answers"),
  make("div", { class: "scroll" }, make("table", {}, make("tbody", {}, ...Object.entries(route.responses ?? {}).map(([status, answer]) =>
    make("tr", {}, make("td", {}, make("code", {}, status)), make("td", {}, Object.values(answer.content ?? {})
      .map(({ schema }) => (schema ? typeOf(schema, all) : "text")).join(", ")), make("td", {}, answer.description ?? "")))))));

const start = async () => {
  const api = await getJson("openapi.json");
  const all = api.components?.schemas ?? {};
  const routes = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, route]) => operation(path, method, route, all)));
  const schemas = Object.entries(all).map(([name, schema]) => make("section", {}, make("h2", {}, name),
    make("p", {}, schema.description ?? ""), fields(schema, all)));
  article.replaceChildren(...routes, ...schemas);
};
start().catch((error) => article.replaceChildren(make("p", { role: "alert" }, error.message)));
