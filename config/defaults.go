package config

import "time"

const day = 24 * time.Hour

// Default is the configuration of a hub that was told nothing: everything
// works, on loopback only.
func Default() Config {
	return Config{
		Domain:  "localhost",
		DataDir: "./pushhub-data",
		Log:     Log{Level: "info", Format: "text"},
		MQTT: MQTT{
			Listen:           "127.0.0.1:1883",
			TLSListen:        "127.0.0.1:8883",
			WSPath:           "/mqtt",
			ProxyProtocol:    off,
			CertUser:         off,
			Anonymous:        auto,
			MaxPacketSize:    1 << 20,
			MaxConnectSize:   96 << 10,
			ReceiveMax:       1024,
			TopicAliasMax:    16,
			SessionExpiryMax: 7 * day,
			ConnectTimeout:   10 * time.Second,
			SysInterval:      10 * time.Second,
		},
		XMPP: XMPP{
			Listen:          "127.0.0.1:5222",
			TLSListen:       "127.0.0.1:5223",
			ProxyProtocol:   off,
			Registration:    auto,
			PlainWithoutTLS: auto,
			MaxStanzaSize:   256 << 10,
			LoginTimeout:    30 * time.Second,
		},
		TLS:     TLS{ClientAuth: off},
		NATS:    NATS{Replicas: 1, Sync: SyncAlways},
		Journal: Journal{MaxBytes: 4 << 30, MaxAge: 7 * day, FrameBytes: 32 << 10},
		Limits: Limits{
			MaxConnections:  100_000,
			QueueBytes:      1 << 20,
			Window:          256,
			OfflineMessages: 100_000,
			OfflineBytes:    256 << 20,
			Subscriptions:   10_000,
			TopicBytes:      65535,
			TopicLevels:     128,
			LoginDelay:      10 * time.Second,
		},
		ACL: ACL{Default: "allow"},
	}
}
