// A program that openapi-typescript's types have to fit.
import type { components, paths } from "./types";

type Locations = paths["/v1/locations"]["get"]["responses"][200]["content"]["application/json"];

export function online(answer: Locations): number {
  return answer.locations.reduce((sum, location: components["schemas"]["Location"]) => sum + location.online, 0);
}

export function arrived(location: components["schemas"]["Location"]): number {
  // @ts-expect-error there is no such window
  location.arrivals["1m"];
  return location.arrivals["5m"];
}
