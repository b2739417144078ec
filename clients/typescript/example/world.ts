/** What the page knows of Duskmarket before it has heard anything: places, ways between them, and who is to be found where. */

export interface Place {
  title: string;
  /** Where one comes from here. */
  ways: string[];
}

export const PLACES: Record<string, Place> = {
  quay: { title: "The quay", ways: ["fishmarket", "reed-path"] },
  fishmarket: { title: "The fish market", ways: ["quay", "north-pass"] },
  "reed-path": { title: "The reed path", ways: ["quay", "old-moor"] },
  "old-moor": { title: "The old moor", ways: ["reed-path", "north-pass"] },
  "north-pass": { title: "The north pass", ways: ["fishmarket", "old-moor"] },
};

export const PEOPLE: Record<string, { name: string; home: string }> = {
  "widow-hask": { name: "Widow Hask", home: "quay" },
  pockets: { name: "Pockets", home: "quay" },
  "doctor-vane": { name: "Doctor Vane", home: "fishmarket" },
  "old-marrow": { name: "Old Marrow", home: "fishmarket" },
  "mother-sedge": { name: "Mother Sedge", home: "reed-path" },
  "warden-pell": { name: "Warden Pell", home: "north-pass" },
};

/** What they are called, also somebody of whom we never heard. */
export const nameOf = (npc: string): string => PEOPLE[npc]?.name ?? npc;

/** The same for a place. */
export const titleOf = (place: string): string => PLACES[place]?.title ?? place;
