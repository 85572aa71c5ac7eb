// How the search ranks what it finds: as Sphinx does, but guides come before the reference,
// and lists of everything (the fields of configs, the changelog) last.
var Scorer = {
  score: ([page, title, anchor, description, score, file, kind]) => {
    if (kind === "object" || kind === "index") return score;
    if (/^(about\/changelog|config|genindex)$/.test(page)) return score - 8;
    return /^(reference|about|coming_from|measurements)\//.test(page) ? score - 2 : score;
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
