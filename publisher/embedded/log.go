package embedded

import (
	"fmt"
	"log/slog"
)

// serverLog hands the lines of the embedded server to slog. Its notices are
// debug lines here: to a user the server is a detail.
type serverLog struct {
	log *slog.Logger
	// fatal gets the first line that the server would have exited with.
	fatal chan string
}

func newServerLog(log *slog.Logger) *serverLog {
	return &serverLog{log.With("component", "nats-server"), make(chan string, 1)}
}

func (l *serverLog) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *serverLog) Debugf(format string, v ...any)  { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *serverLog) Tracef(format string, v ...any)  { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *serverLog) Warnf(format string, v ...any)   { l.log.Warn(fmt.Sprintf(format, v...)) }
func (l *serverLog) Errorf(format string, v ...any)  { l.log.Error(fmt.Sprintf(format, v...)) }

func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.log.Error(text)
	select {
	case l.fatal <- text:
	default:
	}
}
