package forgotten

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrSealed: the key is not the one that a person was sealed with, or none is known.
var ErrSealed = errors.New("who is to be forgotten cannot be read: set GUESTFLOW_PRIVACY_KEY as it was when the person was forgotten")

// Seal puts p into a form that only who has the key can read.
func Seal(key string, p Person) (string, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	box, err := boxOf(key)
	if err != nil {
		return "", err
	}
	nonce := make([]byte, box.NonceSize())
	_, _ = rand.Read(nonce) // it never fails
	return base64.StdEncoding.EncodeToString(box.Seal(nonce, nonce, text, nil)), nil
}

// Open has the event name the person in place of what is sealed. The error is ErrSealed.
func (e *Event) Open(key string) error {
	if e.Data.Sealed == "" {
		return nil
	}
	sealed, err := base64.StdEncoding.DecodeString(e.Data.Sealed)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSealed, err)
	}
	box, err := boxOf(key)
	if err != nil {
		return err
	}
	if len(sealed) < box.NonceSize() {
		return ErrSealed
	}
	text, err := box.Open(nil, sealed[:box.NonceSize()], sealed[box.NonceSize():], nil)
	if err != nil {
		return ErrSealed
	}
	var p Person
	if err := json.Unmarshal(text, &p); err != nil {
		return fmt.Errorf("%w: %w", ErrSealed, err)
	}
	e.Data.Sealed, e.Data.Person = "", &p
	return nil
}

func boxOf(key string) (cipher.AEAD, error) {
	if key == "" {
		return nil, ErrSealed
	}
	secret, err := hkdf.Key(sha256.New, []byte(key), nil, "guestflow forgotten person", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
