// Package embedded runs a NATS server with JetStream inside this process, for an
// estate that has none of its own. Whoever publishes to a server that exists does
// not import it, and so does not link the server.
//
// It imports nothing of the project. publisher.ConnectSettings takes a Server.
package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.etcd.io/bbolt"
)

// Settings are those of a NATS server inside this process.
type Settings struct {
	// Dir holds the streams. It is made when missing, and locked.
	Dir string
	// Listen is the TCP address for other clients. Default 127.0.0.1:4222; port 0
	// picks a free one. An address that is not loopback opens the streams to the
	// network, and is warned about.
	Listen string
	// User and Password, or Token, are what clients need, this process's too. Empty
	// asks for nothing.
	User, Password, Token string
	// SyncInterval is how often what was written is synced to disk. Zero, the
	// default, syncs before each acknowledgement: power loss then takes nothing that
	// was acknowledged. With batches this costs little (see BenchmarkPublish);
	// single messages take one sync of the disk each.
	SyncInterval time.Duration
	// MaxStore bounds the streams on disk, in bytes. Zero leaves it to the server:
	// three quarters of what is free.
	MaxStore int64
	// Log gets the server's log: notices at debug, warnings and errors as such.
	// Default slog.Default.
	Log *slog.Logger
}

// Server is a running NATS server with JetStream. While the disk is full it
// takes no events; once there is room it starts anew by itself, on the same
// address.
type Server struct {
	settings Settings
	options  server.Options
	lock     *bbolt.DB
	stop     context.CancelFunc
	watching sync.WaitGroup

	mu     sync.Mutex
	server *server.Server
	fault  error
}

// readyWait bounds how long recovering the streams may take at start.
const readyWait = 60 * time.Second

// Start starts a server and returns when it takes connections.
func Start(ctx context.Context, s Settings) (*Server, error) {
	s.Listen = cmp.Or(s.Listen, "127.0.0.1:4222")
	if s.Log == nil {
		s.Log = slog.Default()
	}
	host, port, err := listenAddress(s)
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(s.Dir)
	if err != nil {
		return nil, err
	}
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	e := &Server{settings: s, lock: lock, stop: stop, options: server.Options{
		ServerName:        "guestflow",
		Host:              host,
		Port:              port,
		JetStream:         true,
		StoreDir:          s.Dir,
		JetStreamMaxStore: s.MaxStore,
		SyncAlways:        s.SyncInterval == 0,
		SyncInterval:      s.SyncInterval,
		NoSigs:            true,
		NoSystemAccount:   true,
		Username:          s.User,
		Password:          s.Password,
		Authorization:     s.Token,
	}}
	if err := e.start(ctx); err != nil {
		stop()
		return nil, errors.Join(err, lock.Close())
	}
	if addr, ok := e.server.Addr().(*net.TCPAddr); ok {
		e.options.Port = addr.Port // the same again after a new start
	}
	if err := room(s.Dir); err != nil {
		// What the server takes for its limit now is far too little later.
		e.failed(e.noRoom(err))
	}
	e.watching.Go(func() { e.watch(watch) })
	return e, nil
}

// start runs a server, and returns when it takes connections.
func (e *Server) start(ctx context.Context) error {
	options := e.options
	srv, err := server.NewServer(&options)
	if err != nil {
		return fmt.Errorf("embedded NATS server: %w", err)
	}
	log := newServerLog(e.settings.Log)
	srv.SetLoggerV2(log, e.settings.Log.Enabled(ctx, slog.LevelDebug), false, false)
	srv.Start()
	e.mu.Lock()
	e.server = srv
	e.mu.Unlock()
	if err := ready(ctx, srv, log, e.settings); err != nil {
		shutDown(srv)
		return err
	}
	return nil
}

func ready(ctx context.Context, srv *server.Server, log *serverLog, s Settings) error {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	for !srv.ReadyForConnections(50 * time.Millisecond) {
		select {
		case fatal := <-log.fatal:
			return fmt.Errorf("embedded NATS server on %s in %s: %s", s.Listen, s.Dir, fatal)
		case <-ctx.Done():
			return fmt.Errorf("embedded NATS server on %s in %s is not ready: %w", s.Listen, s.Dir, ctx.Err())
		default:
		}
	}
	return nil
}

func shutDown(srv *server.Server) {
	srv.Shutdown()
	srv.WaitForShutdown()
}

// Loopback reports whether only this machine reaches a host:port.
func Loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// listenAddress checks the address, and that it is free: the server's own error
// would come late and not say which variable to change.
func listenAddress(s Settings) (host string, port int, err error) {
	fail := func(err error) (string, int, error) {
		return "", 0, fmt.Errorf("embedded NATS server: GUESTFLOW_NATS_LISTEN=%s: %w", s.Listen, err)
	}
	host, text, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return fail(fmt.Errorf("%w; want host:port", err))
	}
	if port, err = strconv.Atoi(text); err != nil || port < 0 || port > 65535 {
		return fail(fmt.Errorf("port %q is not a number from 0 to 65535", text))
	}
	switch {
	case Loopback(s.Listen):
	case s.Token == "" && s.User == "":
		s.Log.Error("the embedded NATS server is OPEN TO THE NETWORK: anyone who reaches it can read, write and delete the events; listen on 127.0.0.1, or use a server of its own with users and TLS (GUESTFLOW_NATS_URL)", "listen", s.Listen)
	default:
		s.Log.Warn("the embedded NATS server is open to the network, without TLS: events and credentials can be read on the way; use a server of its own with TLS (GUESTFLOW_NATS_URL) where that matters", "listen", s.Listen)
	}
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return fail(fmt.Errorf("%w; stop what listens there, choose another address with GUESTFLOW_NATS_LISTEN, or use that server with GUESTFLOW_NATS_URL", err))
	}
	if err := l.Close(); err != nil {
		return fail(err)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

// lockDir keeps a second process out of the directory, which nats-server itself
// does not. bbolt is used for its portable file lock.
func lockDir(dir string) (*bbolt.DB, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("embedded NATS server: %w; make it writable, or choose another GUESTFLOW_DATA_DIR", err)
	}
	path := filepath.Join(dir, "lock")
	db, err := takeLock(path)
	if errors.Is(err, errLockDamaged) {
		// It holds nothing, so nothing is lost with it.
		if err = os.Truncate(path, 0); err == nil {
			db, err = takeLock(path)
		}
	}
	switch {
	case errors.Is(err, bbolt.ErrTimeout):
		return nil, fmt.Errorf("embedded NATS server: %s is in use by another process; stop that, or choose another GUESTFLOW_DATA_DIR", dir)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return nil, fmt.Errorf("embedded NATS server: lock %s: %w; free some disk space, or choose another GUESTFLOW_DATA_DIR", dir, err)
	case errors.As(err, new(*os.PathError)):
		return nil, fmt.Errorf("embedded NATS server: lock %s: %w; make the directory writable, or choose another GUESTFLOW_DATA_DIR", dir, err)
	case err != nil:
		return nil, fmt.Errorf("embedded NATS server: lock %s: %w", dir, err)
	}
	return db, nil
}

var errLockDamaged = errors.New("the lock's file is damaged")

// takeLock opens the lock's file. With errLockDamaged nobody else has it open.
func takeLock(path string) (db *bbolt.DB, err error) {
	defer func() {
		if r := recover(); r != nil { // bbolt's way of saying that a page is wrong; it keeps the lock
			db, err = nil, fmt.Errorf("its pages are overwritten; remove %s, which holds nothing, and start again", path)
		}
	}()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 100 * time.Millisecond, NoFreelistSync: true})
	var system syscall.Errno
	if err != nil && !errors.Is(err, bbolt.ErrTimeout) && !errors.As(err, &system) {
		err = fmt.Errorf("%w: %w", errLockDamaged, err)
	}
	return db, err
}

// URL returns the address for clients outside of this process.
func (e *Server) URL() string { return e.current().ClientURL() }

// InProcessConn connects a client of this process.
func (e *Server) InProcessConn() (net.Conn, error) { return e.current().InProcessConn() }

func (e *Server) current() *server.Server {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.server
}

// Close stops the server after it has written what it took, and unlocks the
// directory.
func (e *Server) Close() error {
	e.stop()
	e.watching.Wait()
	shutDown(e.current())
	return e.lock.Close()
}
