import type { NomadConfig } from '../../src/config/config.ts';

/** A configuration that says nothing of Nomad but its address. */
export const NOMAD_CONFIG: NomadConfig = {
  address: 'unix:///nowhere',
  token: undefined,
  tokenFile: undefined,
  caCert: undefined,
  clientCert: undefined,
  clientKey: undefined,
  tlsServerName: undefined,
  skipVerify: false,
  dataDir: undefined,
  allocDir: undefined,
  nodeId: undefined,
};
