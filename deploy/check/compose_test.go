package check

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

func project(t *testing.T, environment ...string) (*types.Project, error) {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{deploy + "/compose.yaml"},
		cli.WithEnv(environment), cli.WithInterpolation(true), cli.WithResolvedPaths(true), cli.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatal(err)
	}
	return options.LoadProject(t.Context())
}

// TestComposeFile: it keeps to the schema, names what exists, and hardens what runs.
func TestComposeFile(t *testing.T) {
	if _, err := project(t); err == nil || !strings.Contains(err.Error(), "run ./setup.sh first") {
		t.Errorf("without setup: %v", err)
	}
	p, err := project(t, "GUESTFLOW_API_URL=https://api.example.com", "NATS_SYSTEM=U1", "NATS_ADMIN=U2", "NATS_POLLER=U3", "NATS_WEBHOOKS=U4", "NATS_READER=U5")
	if err != nil {
		t.Fatal(err)
	}
	known := variables(t)
	for name, s := range p.Services {
		if !s.ReadOnly || len(s.CapDrop) != 1 || s.CapDrop[0] != "ALL" || s.Privileged || len(s.SecurityOpt) != 1 {
			t.Errorf("%s is not hardened: %+v", name, s)
		}
		for variable := range s.Environment {
			if strings.HasPrefix(variable, "GUESTFLOW_") && !known[variable] {
				t.Errorf("%s: %s is no variable", name, variable)
			}
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s is open to the network: %+v", name, port)
			}
		}
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind || filepath.Base(v.Source) == "webhooks" { // the operator's
				continue
			}
			if _, err := os.Stat(v.Source); err != nil || !v.ReadOnly {
				t.Errorf("%s mounts %s: %v, read-only %v", name, v.Source, err, v.ReadOnly)
			}
		}
		// What a variable says is in a secret, the service has.
		for variable, value := range s.Environment {
			secret, ok := strings.CutPrefix(*value, "/run/secrets/")
			if !ok {
				continue
			}
			has := false
			for _, mounted := range s.Secrets {
				has = has || mounted.Source == secret
			}
			if !has {
				t.Errorf("%s: %s is in the secret %s, which it does not have", name, variable, secret)
			}
		}
	}
	if len(p.Services) != 8 {
		t.Errorf("%d services", len(p.Services))
	}
}
