// Asking the server. Every failure is an Error with one sentence for the user.

/** The response to a request, if it is a good one. */
export const request = async (address, options) => {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the server cannot be reached; is it still running?");
  }
  if (response.ok) return response;
  let words = `the server answered with the status ${response.status}`;
  try {
    words = (await response.json()).error ?? words;
  } catch { /* not from us */ }
  throw Object.assign(new Error(words), { status: response.status });
};

export const getJson = async (address, options) => (await request(address, options)).json();

export const postJson = (address, values, signal) =>
  getJson(address, {
    method: "POST", signal, headers: { "Content-Type": "application/json" }, body: JSON.stringify(values),
  });

export const uploadImage = (file, name, signal) => {
  const body = new FormData();
  body.append("image", file, name);
  return getJson("page/images", { method: "POST", body, signal });
};
