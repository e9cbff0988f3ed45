// Generated from openapi/nomad.yaml by `npm run generate`. Edit that file instead.

export interface paths {
    "/v1/agent/self": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The configuration and the statistics of the agent that answers. Needs `agent { policy = "read" }`. */
        get: operations["agentSelf"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/node/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One client node. Needs `node { policy = "read" }`. */
        get: operations["node"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/node/{id}/allocations": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The node's allocations, jobs included, in every namespace that the token may read. Needs `node { policy = "read" }`; allocations in namespaces without `read-job` are left out without an error, so an allocation that is missing here may still exist. */
        get: operations["nodeAllocations"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/allocation/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One allocation with its job, whatever its namespace. Needs `read-job` in that namespace; without it the answer is 500 `Unknown allocation "<id>"`. Only 404 `alloc not found` says that there is none. A malformed id is a 500. */
        get: operations["allocation"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/event/stream": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Changes as they happen, one JSON document a line, until the client hangs up. Topic Allocation needs `read-job` in the namespace asked for. Without it the answer is 200 and then nothing, not even a heartbeat; the same for a token that is not valid. */
        get: operations["eventStream"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description A lower-case UUID. */
        Uuid: string;
        /** @description The meta block of one level. Nomad merges task over group over job; the API gives the levels unmerged. */
        Meta: {
            [key: string]: string;
        } | null;
        AgentSelf: {
            config: components["schemas"]["AgentConfig"];
            /** @description Statistics by part of the agent; every value is text. */
            stats: {
                /** @description There only where the agent runs a client. */
                client?: {
                    node_id: components["schemas"]["Uuid"];
                };
            };
        };
        AgentConfig: {
            /** @description Absolute path; empty with `-dev`. */
            DataDir: string;
            Version: {
                /** @example 2.0.5 */
                Version: string;
                /** @description Such as `beta.1`; empty in a release. */
                VersionPrerelease?: string;
            };
            Client: {
                /** @description Absolute path; empty means `<DataDir>/alloc`. */
                AllocDir: string;
            } | null;
            Plugins?: components["schemas"]["AgentPlugin"][] | null;
        };
        /** @description A `plugin` block of the agent's configuration. */
        AgentPlugin: {
            /** @example nomad-driver-podman */
            Name: string;
            /** @description The plugin's own configuration. What is described here is that of nomad-driver-podman. */
            Config?: {
                /** @description The one socket where there are no socket blocks, as `unix://<path>`. */
                socket_path?: string;
                /** @description A block for each socket that a task can name. */
                socket?: {
                    /** @description What a task's `socket` refers to. */
                    name?: string;
                    /** @example unix:///run/user/1001/podman/podman.sock */
                    socket_path: string;
                }[];
            } | null;
        };
        Node: {
            ID: components["schemas"]["Uuid"];
            Name: string;
            Datacenter?: string;
            NodePool?: string;
            /** @enum {string} */
            Status: "initializing" | "ready" | "down" | "disconnected";
            /** @enum {string} */
            SchedulingEligibility?: "eligible" | "ineligible";
            /** @description What the client's fingerprinters found. */
            Attributes?: {
                [key: string]: string;
            } | null;
            /** @description Host volumes by name, dynamic ones included. */
            HostVolumes?: {
                [key: string]: {
                    /** @description Empty for a volume of the agent's configuration. */
                    ID?: string;
                    Name: string;
                    /** @description Absolute path on the host. */
                    Path: string;
                    ReadOnly?: boolean;
                };
            } | null;
        };
        Allocation: {
            ID: components["schemas"]["Uuid"];
            Namespace: string;
            JobID: string;
            /** @description The name of the job's task group that this is an instance of. */
            TaskGroup: string;
            NodeID: components["schemas"]["Uuid"];
            NodeName?: string;
            /** @enum {string} */
            ClientStatus: "pending" | "running" | "complete" | "failed" | "lost" | "unknown";
            CreateIndex?: number;
            /** @description The Raft index of the last change. */
            ModifyIndex: number;
            /** @description The job as it was when the allocation was made. Always null in events. */
            Job?: components["schemas"]["Job"] | null;
            /** @description By task name; null until the client has reported. */
            TaskStates?: {
                [key: string]: components["schemas"]["TaskState"];
            } | null;
        };
        TaskState: {
            /** @enum {string} */
            State: "pending" | "running" | "dead";
            Failed?: boolean;
            /** @description RFC 3339. */
            StartedAt?: string | null;
            /** @description RFC 3339. */
            FinishedAt?: string | null;
        };
        Job: {
            ID: string;
            Name?: string;
            Namespace: string;
            /** @enum {string} */
            Type?: "service" | "batch" | "system" | "sysbatch";
            Meta?: components["schemas"]["Meta"];
            TaskGroups: components["schemas"]["TaskGroup"][];
        };
        TaskGroup: {
            Name: string;
            Meta?: components["schemas"]["Meta"];
            /** @description The group's network blocks. Nomad takes only the first one's mode. */
            Networks?: components["schemas"]["NetworkResource"][] | null;
            /** @description The group's volume blocks by name. */
            Volumes?: {
                [key: string]: {
                    Name: string;
                    /** @enum {string} */
                    Type: "host" | "csi";
                    /** @description The volume's name or id. */
                    Source?: string;
                    ReadOnly?: boolean;
                };
            } | null;
            Tasks: components["schemas"]["Task"][];
        };
        NetworkResource: {
            /** @description host, bridge, none or cni/<name>. */
            Mode?: string;
        };
        Task: {
            Name: string;
            /** @example podman */
            Driver: string;
            /** @description Empty where the job sets none. */
            User?: string;
            Meta?: components["schemas"]["Meta"];
            /** @description The driver's own configuration of the task. */
            Config?: Record<string, never> | null;
        };
        /** @description All events of one Raft index; the heartbeat has neither field. */
        EventBatch: {
            Index?: number;
            Events?: components["schemas"]["Event"][] | null;
        };
        Event: {
            /**
             * @example Allocation
             * @example Node
             */
            Topic: string;
            /**
             * @example PlanResult
             * @example AllocationUpdated
             * @example AllocationUpdateDesiredStatus
             */
            Type: string;
            /** @description The id of what changed. */
            Key: string;
            Namespace?: string;
            Index: number;
            /** @description What changed, under its topic's name. */
            Payload: {
                Allocation?: components["schemas"]["Allocation"];
            };
        };
    };
    responses: {
        /** @description Every error is plain text, such as `Permission denied` (403) or `alloc not found` (404). */
        TextError: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "text/plain": string;
            };
        };
    };
    parameters: {
        /** @description The whole id; the API takes no prefix here. */
        NodeId: components["schemas"]["Uuid"];
    };
    requestBodies: never;
    headers: {
        /** @description The Raft index of what was read. */
        Index: number;
    };
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    agentSelf: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The agent. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentSelf"];
                };
            };
            default: components["responses"]["TextError"];
        };
    };
    node: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The whole id; the API takes no prefix here. */
                id: components["parameters"]["NodeId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The node. */
            200: {
                headers: {
                    "X-Nomad-Index": components["headers"]["Index"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Node"];
                };
            };
            default: components["responses"]["TextError"];
        };
    };
    nodeAllocations: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The whole id; the API takes no prefix here. */
                id: components["parameters"]["NodeId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The allocations, terminal ones included until they are garbage-collected. */
            200: {
                headers: {
                    "X-Nomad-Index": components["headers"]["Index"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Allocation"][];
                };
            };
            default: components["responses"]["TextError"];
        };
    };
    allocation: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The whole id; the API takes no prefix here. */
                id: components["schemas"]["Uuid"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The allocation. */
            200: {
                headers: {
                    "X-Nomad-Index": components["headers"]["Index"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Allocation"];
                };
            };
            default: components["responses"]["TextError"];
        };
    };
    eventStream: {
        parameters: {
            query?: {
                /** @description `Topic` or `Topic:key`, repeated. A key is an allocation, job or deployment id; it cannot be a node id. */
                topic?: string[];
                /** @description A namespace, or `*` for all that there are when the stream opens: it takes the right to read in each of them, and what happens in one that is made later is not in the stream. */
                namespace?: string;
                /** @description Where to start. 0, the default, replays the server's whole buffer. An index that has left the buffer starts at the oldest event there, one that lies ahead at the newest, both without an error. */
                index?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Newline-delimited EventBatch documents, although the content type says application/json. `{}` is the heartbeat: at once, and every 30 s. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EventBatch"];
                };
            };
            default: components["responses"]["TextError"];
        };
    };
}
