// Nothing.
package nocomment // want `package nocomment has no package comment`
