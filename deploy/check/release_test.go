package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goreleaser/goreleaser/v2/pkg/config"
)

const root = "../.."

// TestReleaseConfiguration: GoReleaser's own reader takes .goreleaser.yaml, which it does
// strictly, and what that names is there. It builds what the Dockerfile builds.
func TestReleaseConfiguration(t *testing.T) {
	t.Parallel()
	project, err := config.Load(root + "/.goreleaser.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(project.Builds) != 1 || len(project.Archives) != 1 || len(project.NFPMs) != 1 || len(project.SBOMs) != 1 {
		t.Fatalf("%d builds, %d archives, %d packages, %d SBOMs", len(project.Builds), len(project.Archives), len(project.NFPMs), len(project.SBOMs))
	}
	build := project.Builds[0]
	if !slices.Equal(build.Goos, []string{"linux", "darwin", "windows"}) || !slices.Equal(build.Goarch, []string{"amd64", "arm64"}) {
		t.Errorf("builds for %v, %v", build.Goos, build.Goarch)
	}
	stamped := strings.ReplaceAll(strings.Join(build.Ldflags, " "), "v{{ .Version }}", "$VERSION")
	if dockerfile := read(t, deploy+"/Dockerfile"); !strings.Contains(dockerfile, `-ldflags "`+stamped+`"`) || !slices.Contains(build.Flags, "-trimpath") || !slices.Contains(build.Env, "CGO_ENABLED=0") {
		t.Errorf("the Dockerfile builds otherwise than %v %v %v", build.Env, build.Flags, build.Ldflags)
	}
	var named []string
	for _, f := range project.Archives[0].Files {
		named = append(named, f.Source)
	}
	installed := map[string]bool{}
	for _, c := range project.NFPMs[0].Contents {
		named = append(named, c.Source)
		installed[c.Destination] = true
	}
	named = append(named, project.NFPMs[0].Scripts.PostInstall, build.Main)
	for _, name := range named {
		found, err := filepath.Glob(filepath.Join(root, strings.ReplaceAll(name, "/**/", "/")))
		if err != nil || len(found) == 0 {
			t.Errorf("%s is not there, %v", name, err)
		}
	}
	for _, want := range []string{"/usr/lib/systemd/system/guestflow.service", "/usr/lib/sysusers.d/guestflow.conf", "/usr/lib/tmpfiles.d/guestflow.conf"} {
		if !installed[want] {
			t.Errorf("packages do not install %s", want)
		}
	}
	if unit := read(t, deploy+"/systemd/guestflow.service"); !strings.Contains(unit, "ExecStart="+project.NFPMs[0].Bindir+"/guestflow ") {
		t.Errorf("the unit starts another program than that in %s", project.NFPMs[0].Bindir)
	}
}

// TestPackagesInstallWithoutSystemd as in an image that is being built.
func TestPackagesInstallWithoutSystemd(t *testing.T) {
	t.Parallel()
	script := exec.Command("/bin/sh", deploy+"/systemd/postinstall.sh")
	script.Env = []string{"PATH=" + t.TempDir()}
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		script = exec.Command("/bin/sh", "-n", deploy+"/systemd/postinstall.sh")
	}
	if out, err := script.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
