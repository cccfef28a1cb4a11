package mqttfront

// Packets after a CONNECT for the statements that no case of goldens is about.
var packetClauses = []golden{
	{"disconnect with flags", 5, "e100", "e0", true}, // [MQTT-3.14.1-1]
	{"AUTH with flags", 5, "f100", "e0", true},       // [MQTT-3.15.1-1]
	{"subscribe with wrong flags of 5", 5, "80 07 0001 00 0001 61 01", "e0", true},
	{"unsubscribe with wrong flags", 4, "a0 05 0001 0001 61", "", true}, // [MQTT-3.10.1-1]
	{"unsubscribe with wrong flags of 5", 5, "a0 06 0001 00 0001 61", "e0", true},

	{"subscribe with packet id 0", 4, "82 06 0000 0001 61 01", "", true}, // [MQTT-2.3.1-1]
	{"unsubscribe with packet id 0", 4, "a2 05 0000 0001 61", "", true},
	{"subscribe to U+0000", 4, "82 06 0001 0001 00 01", "", true},             // [MQTT-1.5.3-2]
	{"subscribe to what is not UTF-8", 4, "82 06 0001 0001 ff 01", "", true},  // [MQTT-3.8.3-1]
	{"unsubscribe from what is not UTF-8", 4, "a2 05 0001 0001 ff", "", true}, // [MQTT-3.10.3-1]
	{"subscribe to a surrogate in 5", 5, "82 09 0001 00 0003 eda080 01", "e0", true},
	{"unsubscribe from a surrogate in 5", 5, "a2 08 0001 00 0003 eda080", "e0", true},
	{"subscribe to several filters", 4, "82 0a 0001 0001 61 01 0001 62 02", "90 04 0001 01 02", false}, // [MQTT-3.8.4-4]
	{"unsubscribe from several filters", 4, "a2 08 0001 0001 61 0001 62", "b0 02 0001", false},         // [MQTT-3.10.4-6]
	{"subscribe with a needless byte in the length", 5, "82 08 0001 8000 0001 61 01", "e0", true},      // [MQTT-1.5.5-1]

	{"publish with a subscription identifier", 5, "30 06 0001 61 02 0b01", "e0", true},        // [MQTT-3.3.4-6]
	{"response topic with a wildcard", 5, "30 08 0001 61 04 08 0001 23", "e0", true},          // [MQTT-3.3.2-14]
	{"response topic that is not UTF-8", 5, "30 08 0001 61 04 08 0001 ff", "e0", true},        // [MQTT-3.3.2-13]
	{"content type that is not UTF-8", 5, "30 08 0001 61 04 03 0001 ff", "e0", true},          // [MQTT-3.3.2-19]
	{"user property that is not UTF-8", 5, "30 0b 0001 61 07 26 0001 6b 0001 ff", "e0", true}, // [MQTT-1.5.7-1]
	{"user property with U+0000 in its name", 5, "30 0b 0001 61 07 26 0001 00 0001 76", "e0", true},
	{"alias of the maximum", 5, "32 09 0001 61 0001 03 230010", "4002 0001", false}, // [MQTT-3.3.2-12]
}

// Greetings likewise.
var greetingClauses = []struct {
	name string
	in   string
	out  string
	ends bool
}{
	{"CONNECT with flags in its head", "11 0d 0004 4d515454 04 02 003c 0001 63", "", true}, // [MQTT-2.2.2-2]
	{"5 with the reserved bit", "10 0e 0004 4d515454 05 03 003c 00 0001 63", "20", true},   // [MQTT-3.1.2-3]
	{"5 with a property twice", "10 18 0004 4d515454 05 02 003c 0a 1100000001 1100000001 0001 63", "20", true},

	{"user name flag, no user name", "10 0d 0004 4d515454 04 82 003c 0001 63", "", true},           // [MQTT-3.1.2-19]
	{"user name, no flag", "10 10 0004 4d515454 04 02 003c 0001 63 0001 61", "", true},             // [MQTT-3.1.2-18]
	{"password flag, no password", "10 10 0004 4d515454 04 c2 003c 0001 63 0001 61", "", true},     // [MQTT-3.1.2-21]
	{"password, no flag", "10 13 0004 4d515454 04 82 003c 0001 63 0001 61 0001 78", "", true},      // [MQTT-3.1.2-20]
	{"user name flag, no user name in 5", "10 0e 0004 4d515454 05 82 003c 00 0001 63", "20", true}, // [MQTT-3.1.2-17]
	{"user name, no flag in 5", "10 11 0004 4d515454 05 02 003c 00 0001 63 0001 61", "20", true},
	{"password flag, no password in 5", "10 11 0004 4d515454 05 c2 003c 00 0001 63 0001 61", "20", true},
	{"password, no flag in 5", "10 14 0004 4d515454 05 82 003c 00 0001 63 0001 61 0001 78", "20", true},
	{"user name that is not UTF-8", "10 10 0004 4d515454 04 82 003c 0001 63 0001 ff", "", true},           // [MQTT-3.1.3-11]
	{"user name that is not UTF-8 in 5", "10 11 0004 4d515454 05 82 003c 00 0001 63 0001 ff", "20", true}, // [MQTT-3.1.3-12]

	{"will flag, no will", "10 0d 0004 4d515454 04 06 003c 0001 63", "", true}, // [MQTT-3.1.2-9]
	{"will flag, no payload", "10 10 0004 4d515454 04 06 003c 0001 63 0001 77", "", true},
	{"will flag, no will in 5", "10 0e 0004 4d515454 05 06 003c 00 0001 63", "20", true},
	{"will QoS without will in 5", "10 0e 0004 4d515454 05 0a 003c 00 0001 63", "20", true},    // [MQTT-3.1.2-11]
	{"will retain without will in 5", "10 0e 0004 4d515454 05 22 003c 00 0001 63", "20", true}, // [MQTT-3.1.2-13]
	{"will QoS 3 in 5", "10 14 0004 4d515454 05 1e 003c 00 0001 63 00 0001 77 0000", "20", true},
	{"will topic that is not UTF-8", "10 12 0004 4d515454 04 06 003c 0001 63 0001 ff 0000", "", true}, // [MQTT-3.1.3-10]
	{"will topic that is not UTF-8 in 5", "10 14 0004 4d515454 05 06 003c 00 0001 63 00 0001 ff 0000", "20", true},

	{
		"client id of 23 characters",
		"10 23 0004 4d515454 04 02 003c 0017 3031323334353637383961626364656667 58595a 78797a", "2002 0000", false,
	}, // [MQTT-3.1.3-5]
	{"3.1.1 without client id, clean", "10 0c 0004 4d515454 04 02 003c 0000", "2002 0000", false},                                    // [MQTT-3.1.3-6]
	{"client id that is not UTF-8", "10 0d 0004 4d515454 04 02 003c 0001 ff", "2002 0002", true},                                     // [MQTT-3.1.3-9]
	{"client id that is not UTF-8 in 5", "10 0e 0004 4d515454 05 02 003c 00 0001 ff", "20", true},                                    // [MQTT-3.1.3-8]
	{"wrong password, and more behind it", "10 17 0004 4d515454 04 c2 003c 0001 63 0005 616c696365 0001 78 c000", "2002 0004", true}, // [MQTT-3.1.4-5]
}
