// What is chosen at the moment; one object that the parts of the page share.

export const state = {
  about: null, // the server's answer to /api/about
  techniques: [], // and surveys, which have `survey`
  sets: [], // the data sets that surveys may go over
  set: null, // the name of the chosen one
  layers: {}, // by model, once they were read
  model: "",
  picture: null, // {id, name, url, width, height}; id null: it is no longer on the server
  verb: "show",
  technique: null,
  values: {}, // by technique: settings that are not the defaults
  targets: {}, // by verb: the class that was chosen
  trust: false,
};

export const named = (name) => state.techniques.find((technique) => technique.name === name) ?? null;
export const of = (verb) => state.techniques.filter((technique) => technique.verb === verb);
export const aims = (technique) => technique.settings.find((setting) => setting.role === "class") ?? null;

/** The settings of a technique, with the class that its verb has at the moment. */
export function valuesOf(technique) {
  const values = (state.values[technique.name] ??= {});
  const aim = aims(technique);
  if (aim) {
    delete values[aim.name];
    if (state.targets[technique.verb]) values[aim.name] = state.targets[technique.verb];
  }
  return values;
}

/** What is asked of the server for a technique. One that can do without a picture gets it only to know the class. */
export function request(technique, values) {
  if (technique.survey) return { survey: technique.name, settings: { ...values }, model: state.model, data: state.set };
  const aim = aims(technique);
  const wanted = technique.needs_pixels || (aim && values[aim.name] === undefined && values.objective === undefined);
  const pictures = wanted && state.picture?.id ? [state.picture.id] : [];
  return { technique: technique.name, settings: { ...values }, model: state.model, pictures, trust: state.trust && technique.measurable };
}
