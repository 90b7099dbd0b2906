// gorilla/websocket as its chat example has it: a goroutine that reads and one that writes for each member, a
// prepared message for all of them, small buffers, or such as take all that a connection has under way.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"

	"github.com/gorilla/websocket"
)

// Messages that may wait for a member: more than are under way.
const queueMessages = 256

func bufferBytes() int {
	if bytes, err := strconv.Atoi(os.Getenv("VERSUS_BURST_BYTES")); err == nil && bytes > 4096 {
		return bytes
	}
	return 4096
}

var upgrader = websocket.Upgrader{
	ReadBufferSize:  bufferBytes(),
	WriteBufferSize: bufferBytes(),
	WriteBufferPool: &sync.Pool{},
	CheckOrigin:     func(*http.Request) bool { return true },
}

func echo(response http.ResponseWriter, request *http.Request) {
	peer, err := upgrader.Upgrade(response, request, nil)
	if err != nil {
		return
	}
	defer peer.Close()
	for {
		kind, data, err := peer.ReadMessage()
		if err != nil || peer.WriteMessage(kind, data) != nil {
			return
		}
	}
}

type member struct {
	peer  *websocket.Conn
	queue chan *websocket.PreparedMessage
}

var (
	lock    sync.RWMutex
	members = map[*member]struct{}{}
)

func room(response http.ResponseWriter, request *http.Request) {
	peer, err := upgrader.Upgrade(response, request, nil)
	if err != nil {
		return
	}
	own := &member{peer, make(chan *websocket.PreparedMessage, queueMessages)}
	lock.Lock()
	members[own] = struct{}{}
	lock.Unlock()
	go own.write()
	defer own.leave()
	for {
		kind, data, err := peer.ReadMessage()
		if err != nil {
			return
		}
		message, err := websocket.NewPreparedMessage(kind, data)
		if err != nil {
			return
		}
		lock.RLock()
		for other := range members {
			if other != own {
				other.queue <- message
			}
		}
		lock.RUnlock()
	}
}

func (own *member) write() {
	broken := false
	for message := range own.queue {
		// A queue is emptied to its end, or who publishes would wait for it.
		broken = broken || own.peer.WritePreparedMessage(message) != nil
	}
}

func (own *member) leave() {
	lock.Lock()
	delete(members, own)
	lock.Unlock()
	close(own.queue)
	own.peer.Close()
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	http.HandleFunc("/echo", echo)
	http.HandleFunc("/rooms/", room)
	fmt.Println("listening on", listener.Addr())
	fmt.Fprintln(os.Stderr, http.Serve(listener, nil))
	os.Exit(1)
}
