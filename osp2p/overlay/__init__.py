"""The overlay: a Kademlia network on the wire of BitTorrent's DHT, in which nodes find files and each other alone."""
