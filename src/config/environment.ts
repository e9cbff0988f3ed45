/** The variables that Nomad's own command line reads, and the keys they stand for. What they say wins over the file. */
export const ENVIRONMENT: Readonly<Record<string, string>> = {
  'nomad.address': 'NOMAD_ADDR',
  'nomad.token': 'NOMAD_TOKEN',
  'nomad.ca_cert': 'NOMAD_CACERT',
  'nomad.client_cert': 'NOMAD_CLIENT_CERT',
  'nomad.client_key': 'NOMAD_CLIENT_KEY',
  'nomad.tls_server_name': 'NOMAD_TLS_SERVER_NAME',
  'nomad.skip_verify': 'NOMAD_SKIP_VERIFY',
};

/** The words for a boolean that Nomad takes: those of Go's strconv.ParseBool. */
const BOOLEANS = new Map<string, boolean>([
  ...['1', 't', 'T', 'true', 'TRUE', 'True'].map((word): [string, boolean] => [word, true]),
  ...['0', 'f', 'F', 'false', 'FALSE', 'False'].map((word): [string, boolean] => [word, false]),
]);

/** The values that the environment gives, by key. An empty variable counts as not set, as it does for Nomad. */
export function valuesFromEnvironment(env: Readonly<Record<string, string | undefined>>): Map<string, unknown> {
  const values = new Map<string, unknown>();
  for (const [key, name] of Object.entries(ENVIRONMENT)) {
    const value = env[name];
    if (value === undefined || value === '') continue;
    values.set(key, key === 'nomad.skip_verify' ? (BOOLEANS.get(value) ?? value) : value);
  }
  return values;
}
